package blockstore

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestNamesAreKept: what was made wrongly is remembered until it is deleted, and for a while after that; else its name
// would be created again, or it would never be deleted.
func TestNamesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, wrong := newNames(0), volume.Errorf(volume.Invalid, "it is too large")
		n.put("right", made{id: "1", at: time.Now()})
		n.put("wrong", made{id: "2", at: time.Now(), wrong: wrong})
		n.put("deleted", made{id: "3", at: time.Now(), wrong: wrong, deleted: time.Now()})
		for _, step := range []struct {
			after time.Duration
			kept  []string
			gone  []string
		}{
			{rememberMade, []string{"right", "wrong", "deleted"}, nil},
			{time.Second, []string{"wrong", "deleted"}, []string{"right"}},
			{mistakeFor - rememberMade, []string{"wrong"}, []string{"right", "deleted"}},
			{24 * time.Hour, []string{"wrong"}, []string{"right", "deleted"}},
		} {
			time.Sleep(step.after)
			n.put("another", made{id: "4", at: time.Now()})
			for _, name := range step.kept {
				if _, ok := n.get(name); !ok {
					t.Errorf("%s later %q is forgotten", step.after, name)
				}
			}
			for _, name := range step.gone {
				if _, ok := n.get(name); ok {
					t.Errorf("%s later %q is still known", step.after, name)
				}
			}
		}
	})
}

// TestUnknownIDCostsOneList: the list that was read to find out what an ID is, is the proof that it is no disk.
func TestUnknownIDCostsOneList(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.create("pvc-1")
		next := r.another()
		lists, gets := r.cloud.Count("list_blocks"), r.cloud.Count("get_block")
		if is, err := next.Has(t.Context(), uuid.NewString()); is || err != nil {
			t.Errorf("got %t, %v", is, err)
		}
		if l, g := r.cloud.Count("list_blocks")-lists, r.cloud.Count("get_block")-gets; l != 1 || g != 1 {
			t.Errorf("it cost %d lists and %d reads", l, g)
		}
	})
}

// TestUnknownIDByAnOldList: a list from before the volume was made is no proof that the ID is no disk, and a single read
// that lags is none as well.
func TestUnknownIDByAnOldList(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks.get": time.Minute, "blocks.list": time.Second}, func(t *testing.T, r *rig) {
		next := r.another()
		if is, err := next.Has(t.Context(), uuid.NewString()); is || err != nil {
			t.Fatalf("got %t, %v", is, err)
		}
		v := r.create("pvc-1")
		time.Sleep(10 * time.Second) // of the fake clock: reads show it
		if is, err := next.Has(t.Context(), v.ID); !is || err != nil {
			t.Errorf("got %t, %v", is, err)
		}
	})
}

// TestListsAreReadOnce: a list that many share, or one that came late, is looked through for twins once.
func TestListsAreReadOnce(t *testing.T) {
	name := "pvc-" + uuid.NewString()
	began := time.Now()
	list := func(began time.Time) vultr.List[vultr.Volume] {
		return vultr.List[vultr.Volume]{Began: began, Items: []vultr.Volume{
			{ID: uuid.NewString(), Label: name, Created: began}, {ID: uuid.NewString(), Label: name, Created: began},
		}}
	}
	twins := newTwins()
	for _, c := range []struct {
		began time.Time
		names int
	}{{began, 1}, {began, 0}, {began.Add(-time.Second), 0}, {began.Add(time.Second), 1}} {
		if got := twins.unread(list(c.began), ""); len(got) != c.names {
			t.Errorf("a list of %s later tells of %v", c.began.Sub(began), got)
		}
	}
}

// TestTakingBackGoesOn: what was made wrongly is deleted although the caller has given up.
func TestTakingBackGoesOn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		id := r.byHand(requestOf("pvc-1"))
		time.Sleep(10 * time.Second) // of the fake clock: it is there
		gone, giveUp := context.WithCancel(t.Context())
		giveUp()
		wrong := volume.Errorf(volume.Invalid, "it is too large")
		if err := r.takeBack(gone, "pvc-1", made{id: id, at: time.Now(), wrong: wrong}); volume.ReasonOf(err) != volume.Invalid {
			t.Errorf("got %v", err)
		}
		if left := r.named("pvc-1"); len(left) != 0 {
			t.Errorf("left are %s", left)
		}
	})
}
