package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
)

// lives has as many Services come and be written about three times each, ten of them a second, as the platform's rate limit
// allows. It returns how much was stored.
func lives(t *testing.T, services int) (bytes int) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.latency = 10 * time.Millisecond
		l := s.process(t)
		var running sync.WaitGroup
		for i := range services {
			running.Go(func() {
				time.Sleep(time.Duration(i) * time.Second / 10)
				uid := types.UID(fmt.Sprintf("%08d-43b6-4d94-b8f5-1c5c0e0a3c11", i))
				entry := ledger.Entry{Service: strings.Repeat("n", 63) + "/" + strings.Repeat("s", 63), Tried: ledger.Second(time.Now())}
				put(t, l, uid, entry)
				time.Sleep(time.Second)
				entry.ID, entry.Made, entry.Certificate = string(uid), entry.Tried, strings.Repeat("c", 64)
				put(t, l, uid, entry)
				time.Sleep(time.Minute)
				entry.Shown, entry.Noted, entry.Address = true, entry.ID, "203.0.113.200"
				put(t, l, uid, entry)
			})
		}
		running.Wait()
		if n := len(s.process(t).All()); n != services {
			t.Errorf("%d of %d entries are stored", n, services)
		}
		bytes = s.bytes
	})
	return bytes
}

// What is stored grows about as the number of Services does.
func TestBytesGrowWithTheNumberOfServices(t *testing.T) {
	few, many := lives(t, 100), lives(t, 400)
	t.Logf("100 Services: %d KiB, 400: %d KiB", few>>10, many>>10)
	if many > 10*few {
		t.Errorf("4 times the Services store %d times as much", many/few)
	}
	if limit := 5 << 20; many > limit {
		t.Errorf("400 Services store %d KiB, want %d at most", many>>10, limit>>10)
	}
}

// 2,000 Services with long names and certificates, all at once: they fit, and few writes do.
func TestManyServicesFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.latency = 10 * time.Millisecond
		l := s.process(t)
		const services = 2000
		var running sync.WaitGroup
		for i := range services {
			running.Go(func() {
				put(t, l, types.UID(fmt.Sprintf("%08d-43b6-4d94-b8f5-1c5c0e0a3c11", i)), ledger.Entry{
					Service: strings.Repeat("n", 63) + "/" + strings.Repeat("s", 63), ID: fmt.Sprintf("%08d-43b6-4d94-b8f5-1c5c0e0a3c11", i),
					Made: ledger.Second(time.Now()), Shown: true, Noted: strings.Repeat("i", 36), Address: "203.0.113.200", Certificate: strings.Repeat("c", 64),
				})
			})
		}
		running.Wait()
		if n := len(s.process(t).All()); n != services {
			t.Errorf("%d entries are stored", n)
		}
		if s.writes > 4*ledger.Shards {
			t.Errorf("%d writes", s.writes)
		}
	})
}

// However many there are, a shard is not rewritten faster than it may be.
func TestALargeShardRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		l := s.process(t)
		put(t, l, uid, ledger.Entry{ID: "1", Certificate: strings.Repeat("c", 160<<10)})
		began, before := time.Now(), s.bytes
		for i := range 20 {
			put(t, l, other, ledger.Entry{ID: fmt.Sprint(i)})
		}
		if rate := float64(s.bytes-before) / time.Since(began).Seconds(); rate > 17<<10 {
			t.Errorf("%d bytes a second", int(rate))
		}
	})
}

// What comes while a write is under way is in the next one, all of it, and each Put returns when its own is stored.
func TestChangesThatComeTogetherAreOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.latency = time.Second
		l := s.process(t)
		var running sync.WaitGroup
		for i := range 20 {
			running.Go(func() {
				if i > 0 {
					time.Sleep(time.Duration(i) * time.Millisecond)
				}
				put(t, l, sibling(i+1), ledger.Entry{ID: fmt.Sprint(i)})
				if stored := s.process(t).All()[sibling(i+1)]; stored.ID != fmt.Sprint(i) {
					t.Errorf("stored is %+v when Put returns", stored)
				}
			})
		}
		running.Wait()
		if s.writes != 2 {
			t.Errorf("%d writes, want the first and one for all others", s.writes)
		}
	})
}

// A change that its caller gives up while it waits is not written; one that is under way is ended when nobody else waits for
// it. Others that wait get what is theirs.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.latency = 5 * time.Second
		l := s.process(t)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var running sync.WaitGroup
		running.Go(func() { put(t, l, uid, ledger.Entry{ID: "1"}) })
		synctest.Wait()
		running.Go(func() {
			if err := l.Put(short, other, ledger.Entry{ID: "2"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a change that waited: %v", err)
			}
		})
		running.Go(func() { put(t, l, third, ledger.Entry{ID: "3"}) })
		running.Wait()
		if all := s.process(t).All(); len(all) != 2 || all[uid].ID != "1" || all[third].ID != "3" {
			t.Errorf("%v", all)
		}

		began := time.Now()
		short, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Put(short, uid, ledger.Entry{ID: "9"}); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			t.Errorf("a change that was under way: %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it was given up after %s", took)
		}
		wantEntry(t, l, uid, ledger.Entry{ID: "1"})
		time.Sleep(time.Minute)
		wantEntry(t, s.process(t), uid, ledger.Entry{ID: "1"})
	})
}

// A caller without time that shares a write with others does not end it for them.
func TestCancelOfOneAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.latency = 5 * time.Second
		l := s.process(t)
		var running sync.WaitGroup
		running.Go(func() { put(t, l, uid, ledger.Entry{ID: "1"}) })
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		running.Go(func() { _ = l.Put(short, other, ledger.Entry{ID: "2"}) })
		running.Go(func() { put(t, l, third, ledger.Entry{ID: "3"}) })
		running.Wait()
		wantEntry(t, s.process(t), third, ledger.Entry{ID: "3"})
	})
}

// An API server that never answers holds nobody for ever.
func TestWriteThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.latency = 24 * time.Hour
		l := s.process(t)
		began := time.Now()
		if err := l.Put(t.Context(), uid, ledger.Entry{ID: "1"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// The role of the controller names each ConfigMap, and no other.
func TestTheRoleNamesEachShard(t *testing.T) {
	content, err := os.ReadFile("../../../deploy/manifests/ccm/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(content), ledger.Prefix); n != ledger.Shards {
		t.Errorf("%d names for %d shards", n, ledger.Shards)
	}
	seen := map[string]bool{}
	for i := range 10000 {
		seen[ledger.Name(types.UID(fmt.Sprint(i)))] = true
	}
	if len(seen) != ledger.Shards {
		t.Errorf("%d names are in use", len(seen))
	}
	for name := range seen {
		if !strings.Contains(string(content), name) {
			t.Errorf("%s is not in the role", name)
		}
	}
	if name := ledger.Name(uid); name != ledger.Prefix+"1a" {
		t.Errorf("the entry of %s has moved to %s: what earlier versions wrote is not found any more", uid, name)
	}
}

// A controller for one class beside another one has records of its own, which its role names.
func TestClassHasItsOwnShards(t *testing.T) {
	client := fake.NewSimpleClientset()
	l := ledger.NewAt(client, ledger.ClassPrefix)
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, l, uid, ledger.Entry{Service: "shop/web", ID: "1"})
	found, err := client.CoreV1().ConfigMaps(ledger.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(found.Items) != 1 || found.Items[0].Name != l.Name(uid) || l.Name(uid) == ledger.Name(uid) {
		t.Errorf("%+v, %v", found, err)
	}
	wantEntry(t, loaded(t, client), uid, ledger.Entry{})
	content, err := os.ReadFile("../../../deploy/examples/ccm-class-only/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10000 {
		if name := l.Name(types.UID(fmt.Sprint(i))); !strings.Contains(string(content), "- "+name+"\n") {
			t.Fatalf("%s is not in the role", name)
		}
	}
}
