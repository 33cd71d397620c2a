package orphans_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/orphans"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	uid     = types.UID("11111111-43b6-4d94-b8f5-1c5c0e0a3c11")
	living  = types.UID("22222222-43b6-4d94-b8f5-1c5c0e0a3c11")
	id      = "0a000000-0000-4000-8000-000000000001"
	source  = "0a000000-0000-4000-8000-000000000002"
	machine = "0b000000-0000-4000-8000-000000000001"
	claim   = "prod/pvc-10000000-43b6-4d94-b8f5-1c5c0e0a3c11"
	snap    = "snapshot-10000000-43b6-4d94-b8f5-1c5c0e0a3c11"
)

var (
	now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	old = now.Add(-25 * time.Hour)
)

func pv(handle string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv"},
		Spec:       v1.PersistentVolumeSpec{PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{VolumeHandle: handle}}},
	}
}

func service(change func(*v1.Service)) *v1.Service {
	s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: living, Annotations: map[string]string{}}}
	if change != nil {
		change(s)
	}
	return s
}

// account is one with a thing of each kind that is an orphan.
func account() orphans.Input {
	return orphans.Input{
		LoadBalancers: []vultr.LoadBalancer{{ID: id, Label: lost.Label(uid), IPv4: "192.0.2.1", Nodes: 1, Created: old, Instances: []string{machine}}},
		Blocks:        []vultr.Volume{{ID: id, Label: claim, SizeGB: 10, MonthlyCost: 1, Created: old}},
		FileSystems:   []vultr.FileSystem{{ID: id, Label: claim, SizeGB: 10, MonthlyCost: 2, Created: old}},
		Snapshots:     []vultr.Snapshot{{ID: id, VolumeID: source, Description: snap, SizeBytes: 10<<30 + 1, Created: old}},
		PVs:           []*v1.PersistentVolume{pv(source)},
		Entries:       map[types.UID]ledger.Entry{uid: {Service: "shop/gone", ID: id}},
		Nodes:         []*v1.Node{{Spec: v1.NodeSpec{ProviderID: "vultr://" + machine}}},
		Use:           kube.SnapshotUse{Handles: map[string]bool{}, Snapshots: map[types.UID]bool{}},
		Cluster:       "prod", MinAge: 24 * time.Hour, Now: now,
	}
}

func TestFind(t *testing.T) {
	all := []orphans.Kind{orphans.LoadBalancer, orphans.Block, orphans.FileSystem, orphans.Snapshot}
	tests := map[string]struct {
		change func(*orphans.Input)
		lacks  []orphans.Kind // the kinds that are no longer orphans
	}{
		"as they are": {nil, nil},
		"too young":   {func(in *orphans.Input) { in.MinAge = 26 * time.Hour }, all},

		"the Service exists": {func(in *orphans.Input) { in.Services = []*v1.Service{service(func(s *v1.Service) { s.UID = uid })} }, all[:1]},
		"another Service has its address": {func(in *orphans.Input) {
			in.Services = []*v1.Service{service(func(s *v1.Service) { s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "192.0.2.1"}} })}
		}, all[:1]},
		"another Service names it": {func(in *orphans.Input) {
			in.Services = []*v1.Service{service(func(s *v1.Service) { s.Annotations[string(settings.ID)] = " " + strings.ToUpper(id) })}
		}, all[:1]},
		"another Service's record has it": {func(in *orphans.Input) {
			in.Services, in.Entries[living] = []*v1.Service{service(nil)}, ledger.Entry{ID: id}
		}, all[:1]},
		"a Service that shares it exists": {func(in *orphans.Input) {
			in.Services, in.Entries[uid] = []*v1.Service{service(nil)}, ledger.Entry{Service: "shop/gone", ID: id, Guests: ledger.MembersOf(living), Group: "www"}
			in.LoadBalancers[0].Label = "www"
		}, all[:1]},
		"nobody who shared it exists": {func(in *orphans.Input) {
			in.Entries[uid] = ledger.Entry{Service: "shop/gone", ID: id, Guests: ledger.MembersOf(living), Group: "www"}
			in.LoadBalancers[0].Label = "www"
		}, nil},
		"it is being handed over": {func(in *orphans.Input) { // both have a record
			in.Services, in.Entries[living] = []*v1.Service{service(nil)}, ledger.Entry{Service: "shop/web", ID: id, Guests: ledger.MembersOf(uid), Group: "www"}
			in.Entries[uid] = ledger.Entry{Service: "shop/gone", ID: id, Guests: ledger.MembersOf(living), Group: "www"}
		}, all[:1]},
		"it was adopted":       {func(in *orphans.Input) { in.Entries[uid] = ledger.Entry{ID: id, Adopted: true} }, all[:1]},
		"no record, our nodes": {func(in *orphans.Input) { in.Entries = nil }, nil},
		"no record, no nodes":  {func(in *orphans.Input) { in.Entries, in.Nodes = nil, nil }, all[:1]},

		"a volume that gets its PersistentVolume": {func(in *orphans.Input) { in.PVs = append(in.PVs, pv(strings.ToUpper(id))) }, all[1:3]},
		"a volume whose claim exists": {func(in *orphans.Input) {
			in.Claims = []*v1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{UID: "10000000-43b6-4d94-b8f5-1c5c0e0a3c11"}}}
		}, all[1:3]},
		"a note of somebody, whose claim exists": {func(in *orphans.Input) {
			in.Blocks[0].Label = claim + " (keep)"
			in.Claims = []*v1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{UID: "10000000-43b6-4d94-b8f5-1c5c0e0a3c11"}}}
		}, all[1:3]},
		"another cluster":          {func(in *orphans.Input) { in.Cluster = "test" }, all[1:3]},
		"the cluster has no ID":    {func(in *orphans.Input) { in.Cluster = "" }, all[1:3]},
		"a name that begins alike": {func(in *orphans.Input) { in.Blocks[0].Label, in.FileSystems[0].Label = "production/x", "prod" }, all[1:3]},

		"a content names it":        {func(in *orphans.Input) { in.Use.Handles[id] = true }, all[3:]},
		"its VolumeSnapshot exists": {func(in *orphans.Input) { in.Use.Snapshots["10000000-43b6-4d94-b8f5-1c5c0e0a3c11"] = true }, all[3:]},
		"people made the snapshot":  {func(in *orphans.Input) { in.Snapshots[0].Description = "before the upgrade" }, all[3:]},
		"a temporary copy for a clone": {func(in *orphans.Input) {
			in.Snapshots[0].Description = "block.csi.vultr.com: temporary copy of " + source + " for pvc-1"
		}, all[3:]},
		"its description has the cluster's ID":             {func(in *orphans.Input) { in.Snapshots[0].Description, in.PVs = "prod/"+snap, nil }, nil},
		"its description has another cluster's ID":         {func(in *orphans.Input) { in.Snapshots[0].Description = "test/" + snap }, all[3:]},
		"the description that people gave it begins alike": {func(in *orphans.Input) { in.Snapshots[0].Description = "prod/before the upgrade" }, all[3:]},
		"its VolumeSnapshot exists, and it has the cluster's ID": {func(in *orphans.Input) {
			in.Snapshots[0].Description = "prod/" + snap
			in.Use.Snapshots["10000000-43b6-4d94-b8f5-1c5c0e0a3c11"] = true
		}, all[3:]},
		"of a volume of elsewhere": {func(in *orphans.Input) { in.PVs = nil }, all[3:]},
		"of a volume that is ours by its label": {func(in *orphans.Input) {
			in.PVs = nil
			in.Blocks = append(in.Blocks, vultr.Volume{ID: source, Label: "prod/x", Created: now})
		}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := account()
			if test.change != nil {
				test.change(&in)
			}
			var got, want []orphans.Kind
			for _, o := range orphans.Find(in) {
				got = append(got, o.Kind)
				if o.Proof == "" || o.Kept != "" {
					t.Errorf("%+v", o)
				}
			}
			for _, kind := range all {
				if !slices.Contains(test.lacks, kind) {
					want = append(want, kind)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestKept shows what is an orphan and must not be deleted.
func TestKept(t *testing.T) {
	in := account()
	in.Blocks[0].AttachedTo = machine
	in.Shared = map[string][]vultr.FileSystemAttachment{id: {{InstanceID: machine}}}
	in.LoadBalancers[0].Created, in.Snapshots[0].Created = time.Time{}, time.Time{}
	found := orphans.Find(in)
	if len(found) != 4 {
		t.Fatalf("got %+v", found)
	}
	for _, o := range found {
		want := "it is attached to instance " + machine
		if o.Kind == orphans.LoadBalancer || o.Kind == orphans.Snapshot {
			want = "the platform does not tell how old it is"
		}
		if o.Kept != want {
			t.Errorf("%s: %q, want %q", o.Kind, o.Kept, want)
		}
	}
}

func TestTable(t *testing.T) {
	found := orphans.Find(account())
	if cost := orphans.Cost(found); cost != 13 {
		t.Errorf("cost %v, want 10 + 1 + 2 and nothing for the snapshot", cost)
	}
	var out strings.Builder
	if err := report.Write(&out, report.Table, nil, func(tab *report.Tab) { orphans.Table(tab, orphans.Result{Orphans: found}, now) }); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"load balancer", "1d", "unknown", "13.00 dollars a month", "Service shop/gone", "11"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("the table lacks %q:\n%s", text, out.String())
		}
	}
	out.Reset()
	if err := report.Write(&out, report.Table, nil, func(tab *report.Tab) { orphans.Table(tab, orphans.Result{}, now) }); err != nil || out.String() != "There are no orphans.\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestDays(t *testing.T) {
	for age, want := range map[time.Duration]string{0: "", time.Hour: "1h", 23 * time.Hour: "23h", 47 * time.Hour: "1d", 480 * time.Hour: "20d"} {
		if got := orphans.Days(age); got != want {
			t.Errorf("%s: %q, want %q", age, got, want)
		}
	}
}
