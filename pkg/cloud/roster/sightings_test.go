package roster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// script answers with one list after the other.
type script struct{ lists []vultr.List[vultr.Instance] }

func (s *script) Instances(context.Context, time.Duration) (vultr.List[vultr.Instance], error) {
	list := s.lists[0]
	s.lists = s.lists[1:]
	return list, nil
}

// An instance is new only after a list of the same account that lacked it, and only the first time.
func TestLacked(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int, ids ...string) vultr.List[vultr.Instance] {
		list := vultr.List[vultr.Instance]{Began: start.Add(time.Duration(seconds) * time.Second)}
		for _, id := range ids {
			list.Items = append(list.Items, vultr.Instance{ID: id})
		}
		return list
	}
	tests := map[string]struct {
		lists []vultr.List[vultr.Instance]
		want  int // seconds, -1 for unknown
	}{
		"never shown":               {[]vultr.List[vultr.Instance]{at(10, "a")}, -1},
		"in the first list":         {[]vultr.List[vultr.Instance]{at(10, "a", "new")}, -1},
		"in the second list":        {[]vultr.List[vultr.Instance]{at(10, "a"), at(20, "a", "NEW")}, 10},
		"in the third list":         {[]vultr.List[vultr.Instance]{at(10, "a"), at(20, "a"), at(30, "a", "new")}, 20},
		"shared list":               {[]vultr.List[vultr.Instance]{at(10, "a"), at(20, "a", "new"), at(20, "a", "new")}, 10},
		"missing for a while":       {[]vultr.List[vultr.Instance]{at(10, "a", "new"), at(20, "a"), at(30, "a", "new")}, -1},
		"an older list shows it":    {[]vultr.List[vultr.Instance]{at(20, "a"), at(10, "a", "new"), at(30, "a", "new")}, -1},
		"after an empty list":       {[]vultr.List[vultr.Instance]{at(10), at(20, "a", "new")}, -1},
		"after another account":     {[]vultr.List[vultr.Instance]{at(10, "x"), at(20, "a", "new"), at(30, "a", "new")}, -1},
		"another account before it": {[]vultr.List[vultr.Instance]{at(10, "x"), at(20, "a"), at(30, "a", "new")}, 20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := roster.New(&script{tt.lists})
			for range tt.lists {
				if _, err := r.Instances(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
			}
			var want time.Time
			if tt.want >= 0 {
				want = start.Add(time.Duration(tt.want) * time.Second)
			}
			if got := r.Lacked("new"); !got.Equal(want) {
				t.Errorf("lacked at %s, want %s", got, want)
			}
		})
	}
}

// Thousands of Nodes bring the list that they share: only the first time costs anything.
func TestSharedListIsNotedOnce(t *testing.T) {
	list := vultr.List[vultr.Instance]{Began: time.Now()}
	for i := range 1000 {
		list.Items = append(list.Items, vultr.Instance{ID: fmt.Sprint("i", i)})
	}
	r := roster.New(same{list})
	costs := testing.AllocsPerRun(10, func() {
		if _, err := r.Instances(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
	})
	if costs > 5 {
		t.Errorf("a list that is known takes %v allocations", costs)
	}
}

// same answers with one list.
type same struct{ list vultr.List[vultr.Instance] }

func (s same) Instances(context.Context, time.Duration) (vultr.List[vultr.Instance], error) {
	return s.list, nil
}
