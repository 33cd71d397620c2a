package servicelb

import (
	"errors"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// A Service that takes the label of a load balancer while that one's sync is under way may be dealt with by another worker just then:
// the sync leaves it alone, and its next one has both.
func TestComesDuringASync(t *testing.T) {
	c, indexer := controllerOf(t)
	of := func(name string, uid types.UID, label string) *v1.Service {
		return testService(annotated(settings.Label, label), func(s *v1.Service) { s.Name, s.UID = name, uid })
	}
	put := func(s *v1.Service) {
		if err := indexer.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	host, comes := of("host", "1", "www"), of("comes", "2", "mail")
	put(host)
	put(comes)
	if err := c.ledger.Put(t.Context(), host.UID, ledger.Entry{Service: "shop/host", ID: "of-host"}); err != nil {
		t.Fatal(err)
	}
	taken, free := c.claim(nameOf(host))
	if !free || !slices.Equal(taken, []key{nameOf(host)}) {
		t.Fatalf("%v, %v", taken, free)
	}
	theirs, _ := c.claim(nameOf(comes))
	put(of("comes", "2", "www"))
	for _, end := range []func(){func() { c.atWork.end(theirs...) }, func() { c.atWork.end(taken...) }} {
		_, err := c.sync(t.Context(), nameOf(host)) // it has no client of the platform: it would not come back from touching the load balancer
		if waiting, isWaiting := errors.AsType[*waitError](err); !isWaiting || waiting.after != claimPause {
			t.Fatal(err)
		}
		end()
	}
	if taken, free = c.claim(nameOf(host)); !free || !slices.Contains(taken, nameOf(comes)) || !c.atWork.keeps(nameOf(host), nameOf(comes)) {
		t.Errorf("%v, %v", taken, free)
	}
}

// Services of different Namespaces keep each other's syncs waiting once the administrators of both were seen to let them share, and as
// long as they do.
func TestClaimOfAnotherNamespace(t *testing.T) {
	c, indexer := controllerOf(t)
	own := testService(annotated(settings.Label, "www"))
	other := testService(annotated(settings.Label, "www"), func(s *v1.Service) { s.Namespace, s.UID = "bank", "2" })
	for _, s := range []*v1.Service{own, other} {
		if err := indexer.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	namespaces := c.Client.CoreV1().Namespaces()
	says := func(name, label string) {
		t.Helper()
		_, err := namespaces.Update(t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{string(settings.AllowSharing): label}}}, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := namespaces.Create(t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// looks reads what administrators say, in as many syncs as that takes, and returns how many had to wait.
	looks := func() (waits int) {
		t.Helper()
		for ; ; waits++ {
			_, err := c.teamOf(t.Context(), own)
			if _, waiting := errors.AsType[*waitError](err); waiting && waits < 5 {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			return waits
		}
	}
	for i, step := range []struct {
		does  func()
		waits int
		both  bool
	}{
		{does: func() {}},
		{does: func() { says("shop", "www") }, waits: 1},
		{does: func() { says("bank", "www") }, waits: 1, both: true},
		{does: func() { says("bank", "mail") }},
		{does: func() { says("bank", "mail, www") }, waits: 1, both: true},
		{does: func() {
			if err := namespaces.Delete(t.Context(), "bank", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		step.does()
		if waits := looks(); waits != step.waits {
			t.Errorf("%d: %d syncs had to wait", i, waits)
		}
		names := []key{nameOf(own)}
		if step.both {
			names = append(names, nameOf(other))
		}
		if got := c.together(nameOf(own)); !slices.Equal(got, names) {
			t.Errorf("%d: %v", i, got)
		}
	}
}

// Another controller lets a guest go, or hands its load balancer over. That is learned: the guest would be looked at by the name of a Service
// that has nothing to do with it any more, and so never.
func TestLearnsWhoIsNoGuestAnyMore(t *testing.T) {
	c, _ := controllerOf(t)
	hosts := map[types.UID]ledger.Entry{
		"1": {Service: "shop/one", ID: "of-one", Guests: ledger.MembersOf("2", "3", "4")},
		"5": {Service: "shop/five", ID: "of-five", Guests: ledger.MembersOf("6")},
	}
	for uid, entry := range hosts {
		c.hosts.set(uid, entry)
	}
	learned := map[types.UID]ledger.Entry{
		"1": {Service: "shop/one", ID: "of-one", Guests: ledger.MembersOf("2")},
		"3": {Service: "shop/three", ID: "of-three", Guests: ledger.MembersOf("4")},
		"5": hosts["5"], "7": {Service: "shop/seven", ID: "of-five", Guests: ledger.MembersOf("5", "6")}, // half handed over
	}
	left := c.hosts.learn(func() map[types.UID]ledger.Entry { return learned })
	slices.Sort(left)
	if !slices.Equal(left, []types.UID{"3", "4"}) {
		t.Errorf("%v are woken up", left)
	}
	for guest, want := range map[types.UID]types.UID{"2": "1", "3": "", "4": "3", "5": "7", "6": "5"} {
		if host, _ := c.hosts.of(guest); host.uid != want {
			t.Errorf("%s is the guest of %q, want %q", guest, host.uid, want)
		}
	}
}
