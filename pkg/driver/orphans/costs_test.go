package orphans

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/router"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/vfsstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// bill is a scene with what is shown of the cost of its volumes.
type bill struct {
	*scene

	registry *prometheus.Registry
}

func newBill(t *testing.T) *bill {
	b := &bill{newScene(t, "one"), prometheus.NewRegistry()}
	b.registry.MustRegister(collector{b.Watch})
	return b
}

// has adds a volume to the account.
func (b *bill) has(kind volume.Kind, id, label string, dollars float64) {
	b.volumes = append(b.volumes, volume.Volume{ID: id, Name: label, Kind: kind, MonthlyCost: dollars, Created: time.Now()})
}

// deleted takes a volume out of the account.
func (b *bill) deleted(id string) {
	b.volumes = slices.DeleteFunc(b.volumes, func(v volume.Volume) bool { return v.ID == id })
}

// bound returns a PersistentVolume of a claim.
func bound(handle, namespace, claim string) events.PersistentVolume {
	return events.PersistentVolume{Handle: handle, Claim: events.Claim{Namespace: namespace, Name: claim, UID: "of " + claim}}
}

// shows looks at what is scraped: "namespace/claim kind dollars" of each.
func (b *bill) shows(when, want string) {
	b.t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		if family.GetName() != "csi_volumes_monthly_cost_dollars" {
			continue
		}
		for _, m := range family.GetMetric() {
			of := map[string]string{}
			for _, l := range m.GetLabel() {
				of[l.GetName()] = l.GetValue()
			}
			all = append(all, fmt.Sprintf("%s/%s %s %g", of["namespace"], of["persistentvolumeclaim"], of["storage_type"], m.GetGauge().GetValue()))
		}
	}
	slices.Sort(all)
	if got := strings.Join(all, ", "); got != want {
		b.t.Errorf("%s: shown is %q, want %q", when, got, want)
	}
}

// showsNext is shows after one more look.
func (b *bill) showsNext(when, want string) {
	b.t.Helper()
	if err := b.Look(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.shows(when, want)
}

// TestCostByClaim: of what PersistentVolumes name, and as long as they do and it is there.
func TestCostByClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBill(t)
		b.has(volume.Block, "disk", "one/pvc-1", 1.5)
		b.has(volume.VFS, "shared", "one/pvc-2", 4)
		b.has(volume.Block, "imported", "by hand", 8)
		b.has(volume.Block, "unnamed", "one/pvc-3", 16)
		b.has(volume.Block, "foreign", "two/pvc-4", 32)
		b.claimed = []events.PersistentVolume{
			bound("DISK", "shop", "data"), bound("shared", "bank", "data"), bound("imported", "shop", "old"), bound("elsewhere", "shop", "lost"),
		}
		b.shows("before the first look", "")
		b.showsNext("after it", "bank/data vfs 4, shop/data block 1.5, shop/old block 8")
		b.volumes[0].MonthlyCost = 3 // it was expanded
		b.showsNext("expanded", "bank/data vfs 4, shop/data block 3, shop/old block 8")
		b.deleted("disk")
		b.showsNext("without the volume", "bank/data vfs 4, shop/old block 8")
		b.claimed = b.claimed[:2]
		b.showsNext("without the PersistentVolume", "bank/data vfs 4")
	})
}

// TestCostIsCountedOnce: the sum over all claims is what the account pays for the volumes, whatever names them how often.
func TestCostIsCountedOnce(t *testing.T) {
	disk, shared := bound("disk", "shop", "data"), bound("shared", "bank", "files")
	for name, c := range map[string]struct {
		claimed []events.PersistentVolume
		free    []string // of PersistentVolumes that never were bound
		want    string
	}{
		"never bound":                          {nil, []string{"disk", "shared"}, "/ block 1, / vfs 2"},
		"bound to none beside a claim":         {[]events.PersistentVolume{disk}, []string{"disk"}, "shop/data block 1"},
		"two claims":                           {[]events.PersistentVolume{shared, bound("SHARED", "shop", "a")}, nil, "bank/files vfs 2"},
		"two claims, the other way round":      {[]events.PersistentVolume{bound("SHARED", "shop", "a"), shared}, nil, "bank/files vfs 2"},
		"two claims of one namespace":          {[]events.PersistentVolume{shared, bound("shared", "bank", "a")}, nil, "bank/a vfs 2"},
		"released beside the next of its name": {[]events.PersistentVolume{disk, bound("other", "shop", "data")}, nil, "shop/data block 9"},
		"of two kinds":                         {[]events.PersistentVolume{disk, bound("shared", "shop", "data")}, nil, "shop/data block 1, shop/data vfs 2"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBill(t)
			b.has(volume.Block, "disk", "one/pvc-1", 1)
			b.has(volume.Block, "other", "one/pvc-2", 8)
			b.has(volume.VFS, "shared", "one/pvc-3", 2)
			b.claimed, b.handles = c.claimed, c.free
			b.showsNext("after a look", c.want)
		})
	}
}

// TestCostByNamespace: where claims are not to be shown, there are two series for a namespace at most.
func TestCostByNamespace(t *testing.T) {
	b := newBill(t)
	b.cfg.CostByClaim = false
	for i := range 100 {
		id := fmt.Sprint("disk-", i)
		b.has(volume.Block, id, "one/pvc", 1)
		b.claimed = append(b.claimed, bound(id, "shop", id))
	}
	b.has(volume.VFS, "shared", "one/pvc", 4)
	b.has(volume.Block, "another", "one/pvc", 2)
	b.claimed = append(b.claimed, bound("shared", "shop", "files"), bound("another", "bank", "data"))
	b.showsNext("after a look", "bank/ block 2, shop/ block 100, shop/ vfs 4")
}

// TestCostOfTheLastLook: what is not known any more is not shown, and what could not be seen once more is.
func TestCostOfTheLastLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, leads := newBill(t), true
		b.cfg.Leads = func() bool { return leads }
		b.has(volume.Block, "disk", "one/pvc-1", 1)
		b.claimed = []events.PersistentVolume{bound("disk", "shop", "data")}
		b.turn(t.Context())
		b.shows("leading", "shop/data block 1")
		b.err = errors.New("no apiserver")
		b.claimed = nil
		b.turn(t.Context())
		b.shows("without the list of PersistentVolumes", "shop/data block 1")
		leads = false
		b.turn(t.Context())
		b.shows("when another one leads", "")
		leads = true
		b.turn(t.Context())
		b.shows("leading again, without the list", "")
		b.err, b.claimed = nil, []events.PersistentVolume{bound("disk", "bank", "data")}
		b.turn(t.Context())
		b.shows("with it", "bank/data block 1")
	})
}

// bare lists volumes as the program does.
type bare struct{ *router.Router }

func (b bare) List(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error) {
	return b.ListBare(ctx, maxAge)
}

// TestCostOnTheCloud: the platform's own word on both kinds of storage, by no call beside the list of each.
func TestCostOnTheCloud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.Start(t, simtest.Options{Bubble: true, Config: simulator.Config{}})
		cloud.AddInstance(simulator.NewServer{Label: "controller", Region: "ewr"})
		api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key, StartRate: 500, MaxRate: 500, DialContext: cloud.Dial})
		if err != nil {
			t.Fatal(err)
		}
		disks := blockstore.New(api, blockstore.Options{Cluster: "one"})
		files := vfsstore.New(api, blockstore.Options{Cluster: "one", Beside: disks})
		b := newBill(t)
		b.cfg.Volumes = bare{router.New([]volume.Backend{disks, files})}
		for claim, create := range map[string]func(context.Context, volume.Spec) (volume.Volume, error){"disk": disks.Create, "files": files.Create} {
			v, err := create(t.Context(), volume.Spec{Name: "pvc-" + claim, Type: volume.NVMe, SizeGiB: 20, Regions: []string{"ewr"}})
			if err != nil {
				t.Fatal(err)
			}
			b.claimed = append(b.claimed, bound(v.ID, "shop", claim))
		}
		time.Sleep(time.Hour) // of the fake clock: no list is left that could serve
		before := len(cloud.Requests())
		b.showsNext("after a look", "shop/disk block 2, shop/files vfs 2")
		if n := len(cloud.Requests()) - before; n != 2 {
			t.Errorf("it took %d calls", n)
		}
	})
}
