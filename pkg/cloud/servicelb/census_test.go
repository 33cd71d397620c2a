package servicelb

import (
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// Whoever has one label is compared with each other one. What is written down is read once for that, not for each pair: it is text, and
// nothing bounds how many take a label. As many of them as may share the load balancer do, those that do already before all others.
func TestTeamOfMany(t *testing.T) {
	const guests, newcomers, others = 20, 200, 100
	c, indexer := controllerOf(t)
	put := func(uid types.UID, label string) *v1.Service {
		s := testService(annotated(settings.Label, label), func(s *v1.Service) {
			s.Name, s.UID, s.CreationTimestamp = "s-"+string(uid), uid, metav1.Unix(int64(len(uid)), 0)
		})
		if err := indexer.Add(s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	record := func(uid types.UID, members ...types.UID) {
		entry := ledger.Entry{Service: "shop/s-" + string(uid), ID: "of-" + string(uid), Guests: ledger.MembersOf(members...), Group: "www"}
		if err := c.ledger.Put(t.Context(), uid, entry); err != nil {
			t.Fatal(err)
		}
	}
	host := put("h", "www")
	var members []types.UID
	for i := range guests + newcomers {
		uid := types.UID(fmt.Sprintf("%036d", i))
		put(uid, "www")
		if i >= newcomers {
			members = append(members, uid)
		}
	}
	record(host.UID, members...)
	for i := range others {
		record(types.UID(fmt.Sprintf("other-%d", i)), types.UID(fmt.Sprintf("guest-%d", i)))
	}
	var found team
	allocations := testing.AllocsPerRun(1, func() {
		var err error
		if found, err = c.teamOf(t.Context(), host); err != nil {
			t.Fatal(err)
		}
	})
	stays := func(guest *v1.Service) bool { return slices.Contains(members, guest.UID) }
	if stay := len(slices.DeleteFunc(slices.Clone(found.guests), func(guest *v1.Service) bool { return !stays(guest) })); stay != guests {
		t.Errorf("%d of %d stay", stay, guests)
	}
	if found.host.UID != host.UID || len(found.guests) != mostMembers-1 || len(found.leaving) > 0 {
		t.Errorf("host %s, %d guests, %d leave", found.host.UID, len(found.guests), len(found.leaving))
	}
	if allocations > 50*(guests+newcomers+others) {
		t.Errorf("%.0f allocations", allocations)
	}
}

// Who has a guest is known of a census after the load balancer was passed on, too.
func TestHostInACensus(t *testing.T) {
	c, _ := controllerOf(t)
	heir := testService()
	n := &census{services: map[types.UID]*v1.Service{heir.UID: heir}, entries: map[types.UID]ledger.Entry{
		"9": {Service: "shop/host", ID: "of-all", Guests: ledger.MembersOf(heir.UID, "other"), Group: "www", Made: time.Unix(0, 0)},
	}}
	if err := c.ledger.Put(t.Context(), "9", n.entries["9"]); err != nil {
		t.Fatal(err)
	}
	for guest, want := range map[types.UID]types.UID{"other": "9", heir.UID: "9", "9": ""} {
		if uid, is := c.hostOf(n, guest); uid != want || is != (want != "") {
			t.Errorf("%s is the guest of %q", guest, uid)
		}
	}
	moved := n.entries["9"]
	moved.Guests = ledger.MembersOf("other", "9")
	if err := c.passOn(t.Context(), n, "9", heir, moved); err != nil {
		t.Fatal(err)
	}
	for guest, want := range map[types.UID]types.UID{"other": heir.UID, heir.UID: "", "9": heir.UID} {
		if uid, is := c.hostOf(n, guest); uid != want || is != (want != "") {
			t.Errorf("%s is the guest of %q", guest, uid)
		}
	}
}
