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
