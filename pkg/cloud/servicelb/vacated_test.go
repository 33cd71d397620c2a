package servicelb

import (
	"errors"
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// That a Service is gone is proven by the informer and the API server, and only while nothing is under way for it.
func TestVanished(t *testing.T) {
	const uid = types.UID("gone")
	for name, tt := range map[string]struct {
		entry   ledger.Entry
		prepare func(t *testing.T, c *Controller)
		want    bool
		fails   bool
	}{
		"gone":                  {entry: ledger.Entry{Service: "shop/gone"}, want: true},
		"its name is not known": {entry: ledger.Entry{Service: "gone"}},
		"no name":               {},
		"being deleted":         {entry: ledger.Entry{Service: "shop/gone", Deleted: time.Now().Add(-visibleAfter / 2)}},
		"deletion came to nothing": {
			entry: ledger.Entry{Service: "shop/gone", Deleted: time.Now().Add(-visibleAfter - time.Second)}, want: true,
		},
		"a worker is at it": {
			entry: ledger.Entry{Service: "shop/gone"}, prepare: func(_ *testing.T, c *Controller) { c.atWork.begin(key{Namespace: "shop", Name: "gone"}) },
		},
		"a worker was at it": {
			entry: ledger.Entry{Service: "shop/gone"}, want: true,
			prepare: func(_ *testing.T, c *Controller) {
				c.atWork.begin(key{Namespace: "shop", Name: "gone"})
				c.atWork.end(key{Namespace: "shop", Name: "gone"})
			},
		},
		"this worker is at its successor": {
			entry: ledger.Entry{Service: nameOf(testService()).String()}, want: true,
			prepare: func(_ *testing.T, c *Controller) { c.atWork.begin(nameOf(testService())) },
		},
		"this worker is at its successor, which may share what it has": {
			entry: ledger.Entry{Service: "shop/gone"}, want: true,
			prepare: func(_ *testing.T, c *Controller) {
				c.atWork.begin(nameOf(testService()), key{Namespace: "shop", Name: "gone"})
			},
		},
		"another worker is at it and at others": {
			entry: ledger.Entry{Service: "shop/gone"},
			prepare: func(_ *testing.T, c *Controller) {
				c.atWork.begin(key{Namespace: "shop", Name: "other"}, key{Namespace: "shop", Name: "gone"})
			},
		},
		"the API server has it still": {
			entry: ledger.Entry{Service: "shop/gone"}, prepare: func(t *testing.T, c *Controller) { serverHas(t, c, uid) },
		},
		"the API server has another one": {
			entry: ledger.Entry{Service: "shop/gone"}, want: true, prepare: func(t *testing.T, c *Controller) { serverHas(t, c, "another") },
		},
		"the API server fails": {
			entry: ledger.Entry{Service: "shop/gone"}, fails: true,
			prepare: func(_ *testing.T, c *Controller) {
				c.Client.(*fake.Clientset).PrependReactor("get", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
					return true, nil, errors.New("down")
				})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := controllerOf(t)
			if tt.prepare != nil {
				tt.prepare(t, c)
			}
			got, err := c.vanished(t.Context(), &scene{service: testService()}, uid, tt.entry)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("%v, %v; want %v", got, err, tt.want)
			}
		})
	}
	t.Run("the informer has it still, under another name", func(t *testing.T) {
		c, indexer := controllerOf(t)
		if err := indexer.Add(testService(func(s *v1.Service) { s.Name, s.UID = "other", uid })); err != nil {
			t.Fatal(err)
		}
		if got, err := c.vanished(t.Context(), &scene{service: testService()}, uid, ledger.Entry{Service: "shop/gone"}); got || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func serverHas(t *testing.T, c *Controller, uid types.UID) {
	t.Helper()
	there := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "gone", UID: uid}}
	if _, err := c.Client.CoreV1().Services("shop").Create(t.Context(), there, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// An entry that has changed since it was judged is not removed.
func TestVacateChecksAgain(t *testing.T) {
	c, _ := controllerOf(t)
	seen := ledger.Entry{Service: "shop/gone", ID: "1"}
	now := seen
	now.Deleted = time.Unix(1, 0).UTC()
	if err := c.ledger.Put(t.Context(), "gone", now); err != nil {
		t.Fatal(err)
	}
	s := &scene{service: testService(), vacated: map[types.UID]ledger.Entry{"gone": seen}}
	if err := c.vacate(t.Context(), s); !isWait(err) {
		t.Errorf("%v", err)
	}
	if entry, err := c.ledger.Get("gone"); entry != now || err != nil {
		t.Errorf("%+v, %v", entry, err)
	}
}

// When so much is missing that it is not believed.
func TestManyLost(t *testing.T) {
	for _, tt := range []struct{ recorded, missing, want int }{
		{0, 0, 0}, {1, 1, 0}, {2, 1, 0}, {2, 2, 2}, {3, 2, 0}, {3, 3, 3}, {5, 2, 0}, {5, 3, 3}, {6, 3, 0}, {6, 4, 4}, {20, 10, 0}, {20, 11, 11},
	} {
		c, indexer := controllerOf(t)
		var list []vultr.LoadBalancer
		put := func(uid, id string, entry ledger.Entry, exists bool) {
			entry.Service, entry.ID = "shop/"+uid, id
			if err := c.ledger.Put(t.Context(), types.UID(uid), entry); err != nil {
				t.Fatal(err)
			}
			if !exists {
				return
			}
			if err := indexer.Add(testService(func(s *v1.Service) { s.Name, s.UID = uid, types.UID(uid) })); err != nil {
				t.Fatal(err)
			}
		}
		for i := range tt.recorded {
			id := fmt.Sprint(i)
			put("s"+id, id, ledger.Entry{Shown: true}, true)
			if i >= tt.missing {
				list = append(list, vultr.LoadBalancer{ID: id})
			}
		}
		for i := range 3 { // these say nothing
			put(fmt.Sprint("orphan", i), fmt.Sprint("o", i), ledger.Entry{Shown: true}, false)
			put(fmt.Sprint("new", i), fmt.Sprint("n", i), ledger.Entry{}, true)
			put(fmt.Sprint("deleted", i), fmt.Sprint("d", i), ledger.Entry{Shown: true, Deleted: time.Unix(1, 0).UTC()}, true)
			put(fmt.Sprint("none", i), "", ledger.Entry{Shown: true}, true)
		}
		if got, err := c.manyLost(list); got != tt.want || err != nil {
			t.Errorf("%d of %d: %d, %v; want %d", tt.missing, tt.recorded, got, err, tt.want)
		}
	}
}

// A Service that gets the load balancer of another one may have asked for one of its own a moment before. What came of that is looked
// for even if the Service goes before it is shown.
func TestHandoverKeepsAnAttempt(t *testing.T) {
	c, _ := controllerOf(t)
	heir, tried := testService(), ledger.Second(time.Now())
	for uid, entry := range map[types.UID]ledger.Entry{
		heir.UID: {Service: "shop/web", Tried: tried},
		"9":      {Service: "shop/host", ID: "of-all", Guests: ledger.MembersOf(heir.UID), Group: "www"},
	} {
		if err := c.ledger.Put(t.Context(), uid, entry); err != nil {
			t.Fatal(err)
		}
	}
	n := &census{services: map[types.UID]*v1.Service{heir.UID: heir}, entries: c.ledger.All()}
	moved := n.entries["9"]
	moved.Guests = ""
	if err := c.passOn(t.Context(), n, "9", heir, moved); err != nil {
		t.Fatal(err)
	}
	entry, err := c.ledger.Get(heir.UID)
	if err != nil || entry.ID != "of-all" || !entry.Late.Equal(tried) {
		t.Errorf("%+v, %v", entry, err)
	}
	if rest := afterRelease(entry, time.Now()); !rest.Late.Equal(tried) {
		t.Errorf("of a Service that is released %+v stays", rest)
	}
}
