package orphans

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// counted counts the lists of the platform.
type counted struct {
	*scene
	lists int
}

func (c *counted) List(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error) {
	c.lists++
	return c.scene.List(ctx, maxAge)
}

// TestStandby: a replica that does not lead makes no call to the platform and shows nothing, and knows what was in a
// PersistentVolume when it leads. One that led shows nothing any more.
func TestStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, leads := newScene(t, ""), false
		platform := &counted{scene: s}
		s.cfg.Volumes, s.cfg.Leads = platform, func() bool { return leads }
		turn := func(want time.Duration) {
			t.Helper()
			if next := s.turn(t.Context()); next != want {
				t.Errorf("the next turn is in %s, not %s", next, want)
			}
		}
		s.add("mine", "pvc-1", 48*time.Hour)
		s.add("anybodys", "pvc-2", 48*time.Hour)
		s.handles, s.err = []string{"MINE"}, errors.New("no apiserver")
		turn(leadAgain)
		s.err = nil
		for range 3 {
			time.Sleep(DefaultPeriod) // of the fake clock
			turn(leadAgain)
		}
		s.handles = nil            // the claim is deleted by force
		time.Sleep(25 * time.Hour) // of the fake clock
		turn(leadAgain)
		if all, at := s.Orphans(); len(all) != 0 || !at.IsZero() || platform.lists != 0 {
			t.Errorf("without leading it shows %v of %s, after %d lists", all, at, platform.lists)
		}
		leads = true
		for range 2 {
			turn(DefaultPeriod)
			time.Sleep(DefaultPeriod) // of the fake clock
		}
		if all, at := s.Orphans(); len(all) != 1 || all[0].ID != "mine" || at.IsZero() || platform.lists != 2 {
			t.Errorf("it shows %v of %s, after %d lists", all, at, platform.lists)
		}
		leads = false
		turn(leadAgain)
		if all, at := s.Orphans(); len(all) != 0 || !at.IsZero() || platform.lists != 2 {
			t.Errorf("after it led it shows %v of %s, after %d lists", all, at, platform.lists)
		}
		leads = true
		turn(DefaultPeriod)
		if all, at := s.Orphans(); len(all) != 0 || at.IsZero() {
			t.Errorf("at the first look since it leads again it shows %v of %s", all, at)
		}
	})
}

// TestStandbyForgets: what is not named for long, and may not exist any more, is forgotten.
func TestStandbyForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b book
		b.remember([]string{"one", "two"}, time.Now())
		time.Sleep(forgetAfter) // of the fake clock
		b.remember([]string{"TWO"}, time.Now())
		time.Sleep(time.Second) // of the fake clock
		b.remember(nil, time.Now())
		if _, one := b.named["one"]; one || len(b.named) != 1 {
			t.Errorf("remembered are %v", b.named)
		}
	})
}
