package ledger_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
)

// elsewhere are Services whose entries are in ConfigMaps other than uid's.
var elsewhere = []types.UID{"00000000-0000-4d94-b8f5-1c5c0e0a3c11", "00000001-0000-4d94-b8f5-1c5c0e0a3c11", "00000002-0000-4d94-b8f5-1c5c0e0a3c11"}

// filled returns a process that has written into several ConfigMaps.
func (s *server) filled(t *testing.T) *ledger.Ledger {
	t.Helper()
	l := s.process(t)
	put(t, l, uid, ledger.Entry{ID: "1"})
	for _, service := range elsewhere {
		if ledger.Name(service) == ledger.Name(uid) {
			t.Fatalf("the entry of %s is in the ConfigMap of %s", service, uid)
		}
		put(t, l, service, ledger.Entry{ID: string(service)})
	}
	return l
}

// asked returns how many requests to read there were since the last time.
func (s *server) asked() (lists, gets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lists, gets = s.lists, s.gets
	s.lists, s.gets = 0, 0
	return lists, gets
}

func mend(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	if err := l.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// As long as nobody changes anything, a look at all ConfigMaps is one request. What has changed is read by itself.
func TestMendIsOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		l := s.filled(t)
		writes := s.writes
		s.asked()
		mend(t, l)
		if lists, gets := s.asked(); lists != 1 || gets != 0 || s.writes != writes {
			t.Errorf("%d lists, %d other reads, %d writes of what nobody has changed", lists, gets, s.writes-writes)
		}
		s.edit(t, ledger.Name(uid), func(cm *v1.ConfigMap) { delete(cm.Data, string(uid)) })
		s.asked()
		mend(t, l)
		if lists, gets := s.asked(); lists != 1 || gets != 1 {
			t.Errorf("%d lists, %d other reads for one that was changed", lists, gets)
		}
		wantEntry(t, s.process(t), uid, ledger.Entry{ID: "1"})
	})
}

// The controller needs no right to list ConfigMaps: it reads each by its name then, and asks for a list once only.
func TestMendWithoutTheRightToList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.unlistable = apierrors.NewForbidden(v1.Resource("configmaps"), "", errors.New("no role"))
		l := s.filled(t)
		s.asked()
		for n, want := range []int{1, 0} {
			s.edit(t, ledger.Name(uid), func(cm *v1.ConfigMap) { delete(cm.Data, string(uid)) })
			s.asked()
			mend(t, l)
			if lists, gets := s.asked(); lists != want || gets != ledger.Shards {
				t.Errorf("look %d: %d lists, want %d; %d other reads", n+1, lists, want, gets)
			}
			wantEntry(t, s.process(t), uid, ledger.Entry{ID: "1"})
		}
	})
}

// A list that fails for another reason is told, proves nothing, and is asked for again.
func TestMendWithAListThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		l := s.filled(t)
		writes := s.writes
		s.unlistable = errDown
		if err := l.Mend(t.Context()); !errors.Is(err, errDown) || !strings.Contains(err.Error(), ledger.Namespace) {
			t.Errorf("Mend: %v", err)
		}
		if s.writes != writes {
			t.Errorf("%d writes", s.writes-writes)
		}
		wantEntry(t, l, uid, ledger.Entry{ID: "1"})
		s.unlistable = nil
		s.edit(t, ledger.Name(uid), func(cm *v1.ConfigMap) { delete(cm.Data, string(uid)) })
		mend(t, l)
		wantEntry(t, s.process(t), uid, ledger.Entry{ID: "1"})
	})
}

// What is written while a list is under way is newer than the list: nothing that it shows, or does not show, counts then.
func TestMendWithAListThatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		put(t, s.process(t), uid, ledger.Entry{ID: "1"}) // by the leader before
		l := s.process(t)
		written := ledger.Entry{ID: "1", Shown: true}
		s.listed = func() {
			put(t, l, uid, written)
			put(t, l, elsewhere[0], ledger.Entry{ID: "2"})
		}
		mend(t, l)
		s.listed = nil
		for _, process := range []*ledger.Ledger{l, s.process(t)} {
			wantEntry(t, process, uid, written)
			wantEntry(t, process, elsewhere[0], ledger.Entry{ID: "2"})
		}
		put(t, l, uid, ledger.Entry{ID: "1"}) // nobody else has touched it
		put(t, l, elsewhere[0], ledger.Entry{ID: "3"})
	})
}

// What another controller wrote where this one knows of nothing is learned from a list, too.
func TestMendLearnsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		l := s.filled(t)
		var unknown types.UID = "00000003-0000-4d94-b8f5-1c5c0e0a3c11"
		put(t, s.process(t), unknown, ledger.Entry{ID: "9"})
		mend(t, l)
		wantEntry(t, l, unknown, ledger.Entry{ID: "9"})
	})
}
