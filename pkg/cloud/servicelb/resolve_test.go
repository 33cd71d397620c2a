package servicelb

import (
	"errors"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// resolveTest is what is known of a Service's load balancer, and what follows from it.
type resolveTest struct {
	entry     ledger.Entry
	list      []vultr.LoadBalancer
	began     time.Duration // how long ago the list began
	direct    *vultr.LoadBalancer
	absent    time.Duration // since when, 0 for never
	doubtful  time.Duration // until when, 0 for no doubt
	published string

	current, lost string
	twins, strays int
	wait          time.Duration
}

// resolveNow is when the tests of resolve take place, and resolveName the label that proves whose a load balancer is.
var resolveNow = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

const resolveName = "a6c8f4d0c43b64d94b8f51c5c0e0a3c11"

func ago(d time.Duration) time.Time { return resolveNow.Add(-d) }

// madeAgo returns a load balancer that was made this long ago.
func madeAgo(id, label string, created time.Duration) vultr.LoadBalancer {
	return vultr.LoadBalancer{ID: id, Label: label, Created: ago(created), IPv4: "192.0.2." + id}
}

// What is recorded is believed before what bears a label, and its absence only in the end.
func TestResolveWhatIsRecorded(t *testing.T) {
	resolveAll(t, map[string]resolveTest{
		"nothing was ever made":             {},
		"in the list":                       {entry: ledger.Entry{ID: "1"}, list: []vultr.LoadBalancer{madeAgo("1", "x", time.Hour)}, current: "1"},
		"found by a direct look":            {entry: ledger.Entry{ID: "1"}, direct: &vultr.LoadBalancer{ID: "1"}, current: "1"},
		"just made":                         {entry: ledger.Entry{ID: "1", Made: ago(time.Minute)}, absent: time.Minute, wait: confirmAfter},
		"made long enough, but for 3 s":     {entry: ledger.Entry{ID: "1", Made: ago(visibleAfter - 3*time.Second)}, absent: time.Minute, wait: 3 * time.Second},
		"just made, and seen once":          {entry: ledger.Entry{ID: "1", Made: ago(time.Minute), Shown: true}, absent: time.Minute, wait: confirmAfter},
		"absent for the first time":         {entry: ledger.Entry{ID: "1", Made: ago(time.Hour)}, wait: confirmAfter},
		"absent again, too soon":            {entry: ledger.Entry{ID: "1", Made: ago(time.Hour)}, absent: 4 * time.Second, wait: 6 * time.Second},
		"absent again":                      {entry: ledger.Entry{ID: "1", Made: ago(time.Hour)}, absent: confirmAfter, lost: "1"},
		"absent at the end of the lag":      {entry: ledger.Entry{ID: "1", Made: ago(visibleAfter)}, absent: confirmAfter, lost: "1"},
		"found, so never made is the entry": {entry: ledger.Entry{ID: "1"}, absent: confirmAfter, lost: "1"},
		"another is there instead":          {entry: ledger.Entry{ID: "1"}, absent: confirmAfter, list: []vultr.LoadBalancer{madeAgo("2", resolveName, time.Hour)}, lost: "1", current: "2"},
	})
}

// The part of a load balancer in a further region is neither made twice nor superfluous, whatever its label. What is in another region
// and no part of it did not come of the same request.
func TestResolveParts(t *testing.T) {
	whole := madeAgo("1", "www", time.Hour)
	whole.Region, whole.GlobalRegions = "ewr", []vultr.GlobalRegion{{Region: "ams"}}
	in := func(region string) vultr.LoadBalancer {
		lb := madeAgo("2", resolveName, time.Hour)
		lb.Region = region
		return lb
	}
	made := ledger.Entry{ID: "1", Made: ago(time.Hour)}
	resolveAll(t, map[string]resolveTest{
		"a part":                {entry: made, list: []vultr.LoadBalancer{whole, in("ams")}, current: "1"},
		"a twin":                {entry: made, list: []vultr.LoadBalancer{whole, in("ewr")}, current: "1", twins: 1},
		"one in another region": {entry: made, list: []vultr.LoadBalancer{whole, in("fra")}, current: "1", strays: 1},
	})
}

// What bears the Service's label is found, and nothing is believed to be missing too early.
func TestResolveWhatIsFound(t *testing.T) {
	resolveAll(t, map[string]resolveTest{
		"by its label":               {list: []vultr.LoadBalancer{madeAgo("1", "x", time.Hour), madeAgo("2", resolveName, time.Hour)}, current: "2"},
		"an attempt, list too old":   {entry: ledger.Entry{Tried: ago(visibleAfter)}, began: time.Second, wait: time.Second},
		"an attempt a minute ago":    {entry: ledger.Entry{Tried: ago(time.Minute)}, wait: 90 * time.Second},
		"an attempt long ago":        {entry: ledger.Entry{Tried: ago(visibleAfter)}},
		"an attempt that is found":   {entry: ledger.Entry{Tried: ago(time.Minute)}, list: []vultr.LoadBalancer{madeAgo("2", resolveName, time.Minute)}, current: "2"},
		"another controller before":  {doubtful: time.Minute, wait: time.Minute},
		"the doubt is over":          {doubtful: -time.Second},
		"the later of both":          {entry: ledger.Entry{Tried: ago(time.Minute)}, doubtful: time.Minute, wait: 90 * time.Second},
		"the oldest of two":          {list: []vultr.LoadBalancer{madeAgo("1", resolveName, time.Hour), madeAgo("2", resolveName, time.Hour+time.Minute)}, current: "2", twins: 1},
		"the one that serves":        {list: []vultr.LoadBalancer{madeAgo("1", resolveName, time.Hour), madeAgo("2", resolveName, 2*time.Hour)}, published: "192.0.2.1", current: "1", strays: 1},
		"a twin":                     {entry: ledger.Entry{ID: "1", Made: ago(time.Hour)}, list: []vultr.LoadBalancer{madeAgo("1", "www", time.Hour), madeAgo("2", resolveName, time.Hour-twinWindow)}, current: "1", twins: 1},
		"no twin of one handed over": {entry: ledger.Entry{ID: "1"}, list: []vultr.LoadBalancer{madeAgo("1", "www", time.Hour), madeAgo("2", resolveName, time.Hour)}, current: "1", strays: 1},
		"a stray":                    {entry: ledger.Entry{ID: "1", Made: ago(time.Hour)}, list: []vultr.LoadBalancer{madeAgo("1", "www", time.Hour), madeAgo("2", resolveName, time.Hour-twinWindow-1)}, current: "1", strays: 1},
	})
}

func resolveAll(t *testing.T, tests map[string]resolveTest) {
	t.Helper()
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			e := evidence{label: resolveName, entry: tt.entry, direct: tt.direct, published: tt.published, now: resolveNow}
			e.list.Items, e.list.Began = tt.list, ago(tt.began)
			if tt.absent > 0 {
				e.absentBefore = ago(tt.absent)
			}
			if tt.doubtful != 0 {
				e.doubtful = resolveNow.Add(tt.doubtful)
			}
			f := resolve(e)
			current := ""
			if f.current != nil {
				current = f.current.ID
			}
			if current != tt.current || f.lost != tt.lost || len(f.twins) != tt.twins || len(f.strays) != tt.strays || f.wait != tt.wait {
				t.Errorf("current %q, lost %q, %d twins, %d strays, wait %s (%s)", current, f.lost, len(f.twins), len(f.strays), f.wait, f.why)
			}
		})
	}
}

func TestMayAdopt(t *testing.T) {
	c := claims{
		held:  map[string]bool{"held": true, "held-allowed": true},
		named: map[string]bool{"named": true, "named-allowed": true, "www": true}, instances: map[string]bool{"i1": true, "i2": true},
		serves: map[string]bool{"203.0.113.4": true, "2001:db8::4": true}, ports: map[int]bool{30080: true, 30443: true},
		proofs:  map[string]bool{"a1111111111111111111111111111111": true},
		left:    map[string]bool{"left": true, "left-allowed": true},
		allowed: map[string]bool{"allowed": true, "held-allowed": true, "named-allowed": true, "left-allowed": true},
	}
	to := func(ports ...int) (rules []vultr.ForwardingRule) {
		for _, port := range ports {
			rules = append(rules, vultr.ForwardingRule{FrontendPort: 80, BackendPort: port})
		}
		return rules
	}
	own, both := []string{"i1", "i2"}, to(30080, 30443)
	for id, tt := range map[string]struct {
		lb   vultr.LoadBalancer
		want error
	}{
		"free":              {vultr.LoadBalancer{Instances: own, Rules: both}, nil},
		"one port":          {vultr.LoadBalancer{Instances: own, Rules: to(30080)}, nil},
		"empty":             {vultr.LoadBalancer{Rules: both}, errForeign},
		"foreign":           {vultr.LoadBalancer{Instances: []string{"i1", "i9"}, Rules: both}, errForeign},
		"no rules":          {vultr.LoadBalancer{Instances: own}, errForeign},
		"API servers":       {vultr.LoadBalancer{Instances: own, Rules: to(6443)}, errForeign},
		"a port too many":   {vultr.LoadBalancer{Instances: own, Rules: to(30080, 31999)}, errForeign},
		"allowed":           {vultr.LoadBalancer{Instances: []string{"i9"}, IPv4: "203.0.113.4"}, nil},
		"held":              {vultr.LoadBalancer{Instances: own, Rules: both}, errHeld},
		"held-allowed":      {vultr.LoadBalancer{Instances: own, Rules: both}, errHeld},
		"named":             {vultr.LoadBalancer{Instances: own, Rules: both}, errHeld},
		"named-allowed":     {vultr.LoadBalancer{}, nil},
		"left":              {vultr.LoadBalancer{Instances: own, Rules: both}, errLeft},
		"left-allowed":      {vultr.LoadBalancer{Instances: own, Rules: both}, nil},
		"label":             {vultr.LoadBalancer{Label: "www", Instances: own, Rules: both}, errHeld},
		"made for another":  {vultr.LoadBalancer{Label: "a0123456789abcdef0123456789abcde", Instances: own, Rules: both}, errAnothers},
		"made for a member": {vultr.LoadBalancer{Label: "a1111111111111111111111111111111", Instances: own, Rules: both}, nil},
		"another's address": {vultr.LoadBalancer{Instances: own, Rules: both, IPv4: "203.0.113.4"}, errHeld},
		"another's IPv6":    {vultr.LoadBalancer{Instances: own, Rules: both, IPv4: "203.0.113.5", IPv6: "2001:db8::4"}, errHeld},
	} {
		tt.lb.ID = id
		if err := c.mayAdopt(tt.lb); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", id, err, tt.want)
		}
	}
}

// TestMayAdoptPublished: the address in the Service's status, which tenants cannot write, counts more than ports and annotations of
// others, but does not give it what serves other machines.
func TestMayAdoptPublished(t *testing.T) {
	c := claims{address: "203.0.113.7", named: map[string]bool{"named": true}, left: map[string]bool{"left": true}, instances: map[string]bool{"i1": true}}
	for id, tt := range map[string]struct {
		lb   vultr.LoadBalancer
		want error
	}{
		"other ports":      {vultr.LoadBalancer{Instances: []string{"i1"}}, nil},
		"named":            {vultr.LoadBalancer{Instances: []string{"i1"}}, nil},
		"made for another": {vultr.LoadBalancer{Label: "a0123456789abcdef0123456789abcde", Instances: []string{"i1"}}, nil},
		"left":             {vultr.LoadBalancer{Instances: []string{"i1"}}, errLeft},
		"foreign":          {vultr.LoadBalancer{Instances: []string{"i1", "i9"}}, errForeign},
		"empty":            {vultr.LoadBalancer{}, errForeign},
	} {
		tt.lb.ID, tt.lb.IPv4 = id, c.address
		if err := c.mayAdopt(tt.lb); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", id, err, tt.want)
		}
	}
}

func TestGate(t *testing.T) {
	var g gate
	now := time.Unix(0, 0)
	for i := range gateFailures {
		if wait := g.enter(now); wait != 0 {
			t.Fatalf("closed after %d failures", i)
		}
		g.failed(now)
	}
	if wait := g.enter(now); wait != gateFirst {
		t.Errorf("wait %s", wait)
	}
	now = now.Add(gateFirst)
	if g.enter(now) != 0 || g.enter(now) == 0 {
		t.Error("after the pause exactly one request goes")
	}
	for range 10 {
		g.failed(now)
	}
	if wait := g.enter(now); wait != gateLongest {
		t.Errorf("wait %s after many failures", wait)
	}
	g.worked()
	if wait := g.enter(now); wait != 0 {
		t.Errorf("wait %s after a success", wait)
	}
}

func TestPace(t *testing.T) {
	p := newPace()
	if first := p.wait(0); first < usualWait || first > usualWait*11/10 {
		t.Errorf("the first look of all comes after %s", first)
	}
	for range 2 { // one is an exception
		p.took(59*time.Second, 60*time.Second)
	}
	first := 59*time.Second + 500*time.Millisecond
	for age, want := range map[time.Duration]time.Duration{
		0: 2 * longestWait, 40 * time.Second: first - 40*time.Second, first: shortestWait, first + time.Second: shortestWait,
		first + 40*time.Second: 5 * time.Second, 5 * time.Minute: longestWait, lateAfter: lateWait,
	} {
		if got := p.wait(age); got != want {
			t.Errorf("after %s: %s, want %s", age, got, want)
		}
	}
	p.took(first-time.Second, first+time.Millisecond) // that look was not the pace's
	if got := p.wait(50 * time.Second); got > first-50*time.Second {
		t.Errorf("%s after one that was ready at the first look", got)
	}
	p.took(time.Hour, time.Hour)
	if got := p.wait(0); got != 2*longestWait {
		t.Errorf("%s", got)
	}
}
