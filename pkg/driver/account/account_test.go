package account

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// platform is the account of the present key.
type platform struct {
	instances []string
	err       error
	since     time.Time
	lists     int
	single    []string // the instances that are shown one by one
	singles   int
}

func (p *platform) Instances(context.Context, time.Duration) (vultr.List[vultr.Instance], error) {
	p.lists++
	list := vultr.List[vultr.Instance]{Began: time.Now()}
	for _, id := range p.instances {
		list.Items = append(list.Items, vultr.Instance{ID: id})
	}
	return list, p.err
}

func (p *platform) Instance(_ context.Context, id string) (vultr.Instance, error) {
	p.singles++
	if slices.Contains(p.single, id) {
		return vultr.Instance{ID: id}, nil
	}
	return vultr.Instance{}, errAway
}

func (p *platform) KeySince() time.Time { return p.since }

func members(ids ...string) Members {
	return func(context.Context) ([]string, error) { return ids, nil }
}

var errAway = errors.New("away")

func away(context.Context) ([]string, error) { return nil, errAway }

// TestCheck: one instance that is certainly the cluster's proves the account. Where none is known any will do.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		instances []string
		members   Members
		seen      []string
		named     []string
		err       error
		known     int // of the doubt, -1 for none
	}{
		"a member":                         {instances: []string{"x", "m"}, members: members("gone", "M"), known: -1},
		"a seen one":                       {instances: []string{"x", "s"}, members: away, seen: []string{"gone", "S"}, known: -1},
		"a named one":                      {instances: []string{"x", "n"}, members: away, seen: []string{"gone"}, named: []string{"N"}, known: -1},
		"nothing known":                    {instances: []string{"x"}, known: -1},
		"nothing known, a named one gone":  {instances: []string{"x"}, members: members(), named: []string{"n"}, known: -1},
		"nothing known, nothing there":     {members: members()},
		"members are elsewhere":            {instances: []string{"x"}, members: members("m", "n"), known: 2},
		"seen are elsewhere":               {instances: []string{"x"}, seen: []string{"s"}, known: 1},
		"nobody can tell the members":      {instances: []string{"x"}, members: away},
		"seen are gone, members are there": {instances: []string{"m"}, members: members("m"), seen: []string{"s"}, known: -1},
	} {
		t.Run(name, func(t *testing.T) {
			a := New(&platform{instances: c.instances}, c.members)
			for _, id := range c.seen {
				a.HasInstance(id)
			}
			err := a.Check(t.Context(), time.Now(), c.named...)
			doubt, is := errors.AsType[*DoubtError](err)
			switch {
			case c.known < 0 && err != nil, c.known >= 0 && !is:
				t.Errorf("got %v", err)
			case is && (len(doubt.Known) != c.known || !strings.Contains(err.Error(), "Secret")):
				t.Errorf("it knows %s: %v", doubt.Known, err)
			}
		})
	}
	a := New(&platform{err: errAway}, members("m"))
	if err := a.Check(t.Context(), time.Now()); !errors.Is(err, errAway) {
		t.Errorf("without a list: %v", err)
	}
}

// TestCheckKey: a key that was proven costs nothing again, and another one is proven in turn, by what the account had.
func TestCheckKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{instances: []string{"a", "b"}, since: time.Now()}
		a := New(p, nil)
		check := func(what string, good bool, lists int) {
			t.Helper()
			before := p.lists
			err := a.CheckKey(t.Context())
			if (err == nil) != good || p.lists-before != lists {
				t.Errorf("%s: %v, %d lists", what, err, p.lists-before)
			}
		}
		check("first", true, 1)
		time.Sleep(time.Hour) // of the fake clock
		check("the same key", true, 0)
		p.since, p.instances = time.Now(), []string{"x"}
		check("a key of another account", false, 1)
		check("the same again", false, 1)
		a.Shown(p.since.Add(-time.Second))
		check("what the key before showed", false, 1)
		time.Sleep(time.Second)
		p.since, p.instances = time.Now(), []string{"b", "c"}
		check("a new key of the account", true, 1)
		time.Sleep(time.Second)
		p.since, p.instances = time.Now(), []string{"b"}
		a.Shown(time.Now())
		check("a volume was shown with it", true, 0)
		time.Sleep(time.Second)
		p.since, p.instances = time.Now(), []string{"c"}
		check("what the account had last", true, 1)
		time.Sleep(time.Second)
		p.since, p.instances = time.Now(), []string{"a"}
		check("what the account had long ago", false, 1)
	})
}

// TestMemoryIsBounded: an account of any size is remembered in part.
func TestMemoryIsBounded(t *testing.T) {
	a := New(&platform{}, nil)
	for i := range 2 * remembered {
		a.HasInstance(time.Duration(i).String())
	}
	if n := len(a.seen); n != remembered {
		t.Errorf("%d are remembered", n)
	}
}

// TestCheckWithoutAList: while a list can't be read, an instance of the cluster that is shown by itself is as good.
func TestCheckWithoutAList(t *testing.T) {
	for name, c := range map[string]struct {
		single  []string
		members Members
		named   []string
		proven  bool
		singles int
	}{
		"a member":       {[]string{"m"}, members("gone", "m"), nil, true, 2},
		"a named one":    {[]string{"n"}, members("m"), []string{"n"}, true, 1},
		"none":           {nil, members("a", "b", "c", "d"), nil, false, 3},
		"nobody known":   {[]string{"x"}, nil, nil, false, 0},
		"no members now": {[]string{"x"}, away, nil, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := &platform{err: errAway, single: c.single}
			a := New(p, c.members)
			err := a.Check(t.Context(), time.Now(), c.named...)
			if (err == nil) != c.proven || p.singles != c.singles || (!c.proven && !errors.Is(err, errAway)) {
				t.Errorf("%v after %d looks at single instances", err, p.singles)
			}
			if err := a.CheckKey(t.Context()); (err == nil) != c.proven {
				t.Errorf("the key: %v", err)
			}
		})
	}
}
