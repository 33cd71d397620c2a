package instances_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The cluster's tag is added to those that an instance has by then, once an hour, and not to instances of Nodes that are not
// known to be theirs yet.
func TestClusterTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listed := vultr.Instance{ID: idOne, Label: "a", MainIP: "192.0.2.1", Tags: []string{"old"}}
		fresh := listed
		fresh.Tags = []string{"old", "new"}
		cloud := &fakeCloud{list: []vultr.Instance{listed}, gets: map[string]vultr.Instance{idOne: fresh}}
		var sent [][]string
		fails := errors.New("the API is away")
		r := newRigWith(t, cloud, instances.Options{Tag: "production", SetTags: func(_ context.Context, in vultr.Instance, tags []string) error {
			if in.ID != idOne {
				t.Errorf("tags for %+v", in)
			}
			sent = append(sent, tags)
			return fails
		}})
		ask := func(id string, times int) {
			for range times {
				if _, err := r.InstanceMetadata(t.Context(), bare("a", id)); err != nil {
					t.Error(err)
				}
			}
		}
		ask("", 2)
		if len(sent) > 0 {
			t.Errorf("sent %v before the node has its ID", sent)
		}
		ask(idOne, 5)
		if len(sent) != 1 || !slices.Equal(sent[0], []string{"old", "new", "production"}) || !slices.Equal(fresh.Tags, []string{"old", "new"}) {
			t.Errorf("sent %v", sent)
		}
		time.Sleep(time.Hour) // of the fake clock
		fails = nil
		ask(idOne, 5)
		if len(sent) != 2 {
			t.Errorf("sent %d times", len(sent))
		}
		// Whoever has given it the tag meanwhile is not overwritten.
		fresh.Tags = append(fresh.Tags, "production")
		cloud.gets[idOne] = fresh
		time.Sleep(time.Hour) // of the fake clock
		ask(idOne, 5)
		cloud.list, cloud.last = []vultr.Instance{fresh}, vultr.List[vultr.Instance]{}
		looks := cloud.looks
		time.Sleep(time.Hour) // of the fake clock
		ask(idOne, 5)
		if len(sent) != 2 || cloud.looks != looks {
			t.Errorf("sent %d times, %d looks at what is listed with the tag", len(sent), cloud.looks-looks)
		}
	})
}

// An API that does not come to an end with a tag keeps no Node from its addresses for long, and not one Node after the other.
func TestTagThatHangsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		cloud := &fakeCloud{list: []vultr.Instance{{ID: idOne, MainIP: "192.0.2.1"}, {ID: idTwo, MainIP: "192.0.2.2"}}}
		r := newRigWith(t, cloud, instances.Options{Tag: "production", SetTags: func(ctx context.Context, in vultr.Instance, _ []string) error {
			asked = append(asked, in.ID)
			<-ctx.Done()
			return ctx.Err()
		}})
		began := time.Now()
		for _, id := range []string{idOne, idTwo} {
			if got, err := r.addresses(bare("a", id)); err != nil || len(got) != 2 {
				t.Errorf("%v, %v", got, err)
			}
		}
		if took := time.Since(began); took > 20*time.Second || !slices.Equal(asked, []string{idOne}) {
			t.Errorf("it took %s, tags for %v", took, asked)
		}
		time.Sleep(time.Minute) // of the fake clock
		if _, err := r.addresses(bare("a", idTwo)); err != nil || !slices.Equal(asked, []string{idOne, idTwo}) {
			t.Errorf("later: tags for %v, %v", asked, err)
		}
	})
}

// What the API refuses for one instance says nothing about the others.
func TestTagThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		cloud := &fakeCloud{list: []vultr.Instance{{ID: idOne, MainIP: "192.0.2.1"}, {ID: idTwo, MainIP: "192.0.2.2"}}}
		r := newRigWith(t, cloud, instances.Options{Tag: "production", SetTags: func(_ context.Context, in vultr.Instance, _ []string) error {
			asked = append(asked, in.ID)
			return &vultr.Error{Op: "update instance", Status: 400, Message: "Too many tags."}
		}})
		for _, id := range []string{idOne, idTwo} {
			if _, err := r.addresses(bare("a", id)); err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(asked, []string{idOne, idTwo}) {
			t.Errorf("tags for %v", asked)
		}
	})
}
