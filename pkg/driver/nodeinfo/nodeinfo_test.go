package nodeinfo

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/attachlimit"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestMain(m *testing.M) { testns.Main(m) }

const nodePath = "/api/v1/nodes/worker-1"

// rig is a node with its sources.
type rig struct {
	*Source

	t    *testing.T
	kube *testkube.Server
	// instance is what the metadata service answers, "" while it does not.
	instance atomic.Pointer[string]
	staged   []string
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, kube: testkube.New(t)}
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		id := r.instance.Load()
		if id == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = fmt.Fprintf(w, `{"instance-v2-id":%q,"region":{"regioncode":"EWR"}}`, *id) // a client that left is the test's business
	}))
	t.Cleanup(metadata.Close)
	kube, err := kubeapi.InCluster(r.kube.Getenv, r.kube.AccountDir)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Metadata: vultr.NewMetadata(metadata.URL), NeedID: true, Patience: 100 * time.Millisecond, Kube: kube, NodeName: "worker-1",
		Driver: "block.csi.vultr.com", MaxVolumes: 11, Disks: func() ([]string, int, error) { return nil, 0, nil },
	}
	if change != nil {
		change(&cfg)
	}
	r.Source = New(cfg)
	return r
}

func (r *rig) answers(id string) { r.instance.Store(&id) }

func (r *rig) run() {
	r.t.Helper()
	go r.Run(r.t.Context())
	if err := r.Wait(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) info() (Info, error) {
	return r.Info(r.t.Context(), func() ([]string, error) { return r.staged, nil })
}

// limit is how many volumes the node can have now.
func (r *rig) limit(want int64) {
	r.t.Helper()
	if i, err := r.info(); err != nil || i.MaxVolumes != want {
		r.t.Errorf("got %+v, %v, want %d volumes", i, err, want)
	}
}

// TestProviderID: with a silent metadata service the Node tells which instance this is, as soon as it does.
func TestProviderID(t *testing.T) {
	r := newRig(t, nil)
	if _, err := r.info(); !errors.Is(err, ErrUnknown) {
		t.Errorf("before anything answered: %v", err)
	}
	var reads atomic.Int64
	r.kube.Fault(func(string, string) int {
		switch reads.Add(1) {
		case 1:
			return http.StatusServiceUnavailable
		case 2:
			r.kube.Put(nodePath, `{"spec":{"providerID":""}}`)
		case 3:
			r.kube.Put(nodePath, `{"metadata":{"labels":{"topology.kubernetes.io/region":"ewr"}},"spec":{"providerID":"vultr://`+idA+`"}}`)
		}
		return 0
	})
	r.run()
	if i, err := r.info(); err != nil || i.Identity != (Identity{ID: idA, Region: "ewr"}) {
		t.Errorf("got %+v, %v", i, err)
	}
	for _, request := range r.kube.Requests() {
		if request != "GET "+nodePath {
			t.Errorf("it asked %s", request)
		}
	}
}

// TestMetadataNeedsNoCluster: an apiserver that is away, or refuses, holds up nothing.
func TestMetadataNeedsNoCluster(t *testing.T) {
	r := newRig(t, nil)
	r.answers(idA)
	r.kube.Fault(func(string, string) int { return http.StatusForbidden })
	r.run()
	if i, err := r.info(); err != nil || i.ID != idA || i.MaxVolumes != 11 {
		t.Errorf("got %+v, %v", i, err)
	}
}

// TestContradiction: sources that name two instances, early or late, are an error that ends when they agree.
func TestContradiction(t *testing.T) {
	r := newRig(t, nil)
	r.answers(idA)
	r.kube.Put(nodePath, `{"spec":{"providerID":"vultr://`+idB+`"}}`)
	compared := make(chan struct{})
	var reads atomic.Int64
	r.kube.Fault(func(string, string) int {
		if reads.Add(1) == 3 {
			close(compared)
		}
		return 0
	})
	go r.Run(t.Context())
	<-compared
	_, err := r.info()
	if !errors.Is(err, ErrContradiction) || !strings.Contains(err.Error(), idA) || !strings.Contains(err.Error(), idB) {
		t.Errorf("got %v", err)
	}
	if err := r.Check(t.Context()); !errors.Is(err, ErrContradiction) {
		t.Errorf("it is ready: %v", err)
	}
	select {
	case <-r.known:
		t.Error("it counts as known which instance this is")
	default:
	}
	r.kube.Fault(nil)
	r.kube.Put(nodePath, `{"spec":{"providerID":"vultr://`+idA+`"}}`)
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.limit(11)
	if err := r.Check(t.Context()); err != nil {
		t.Errorf("it is not ready: %v", err)
	}
	r.kube.Put(nodePath, `{"spec":{"providerID":"vultr://`+idB+`"}}`)
	if _, err := r.info(); !errors.Is(err, ErrContradiction) {
		t.Errorf("the Node was changed, and got %v", err)
	}
}

// TestLateMetadata: what was believed while the metadata service was silent is compared with its answer.
func TestLateMetadata(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ID, c.Region = idB, "ewr" })
	r.run()
	r.limit(11)
	r.answers(idA)
	for r.Check(t.Context()) == nil { // until the service was asked again
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // nothing tells when the service was asked again
	}
	if _, err := r.info(); !errors.Is(err, ErrContradiction) || !strings.Contains(err.Error(), "--node-id") {
		t.Errorf("got %v", err)
	}
}

// TestLimitOfRealDisks: what is plugged into the machine and is not the cluster's takes the place of a volume. Only real
// disks of the platform's do: neither others' disks, nor the loop devices on top of them.
func TestLimitOfRealDisks(t *testing.T) {
	const mib = 1 << 20
	machine := testmachine.New(t)
	r := newRig(t, func(c *Config) { c.Disks = machine.All })
	r.answers(idA)
	r.kube.Put(nodePath, `{"metadata":{"labels":{"block.csi.vultr.com/max-volumes":"8"}},"status":{
		"volumesAttached":[{"name":"kubernetes.io/csi/block.csi.vultr.com^a0000000-0000-4000-8000-000000000000"}],
		"volumesInUse":["kubernetes.io/csi/block.csi.vultr.com^b0000000-0000-4000-8000-000000000000",
			"kubernetes.io/csi/other.example.com^e0000000-0000-4000-8000-000000000000"]}}`)
	r.staged = []string{"c0000000-0000-4000-8000-000000000000"}
	for _, serial := range []string{"ewr-a0000000000040", "ewr-b0000000000040", "ewr-c0000000000040"} {
		machine.Plug("disk-"+serial, serial, mib)
	}
	machine.Plug("by-hand", "ewr-d0000000000040", mib)
	machine.Plug("of-another-driver", "ewr-e0000000000040", mib)
	machine.Plug("not-the-platforms", "QEMU_HARDDISK", mib)
	r.run()
	r.limit(8 - 2)
	r.kube.Put(nodePath, `{"metadata":{"labels":{"block.csi.vultr.com/max-volumes":"17"}}}`)
	r.limit(11 - 2) // the cluster counts two no more, and they are being detached
	r.kube.Fault(func(string, string) int { return http.StatusServiceUnavailable })
	r.limit(11 - 2)
	machine.Unplug("by-hand")
	r.limit(11 - 1)
}

// TestRefusalLowersTheLimit: what the controller learns from a refusal of the platform, the kubelet is told when it asks
// next, which is at once. More than the node has seen attached is never taken for impossible.
func TestRefusalLowersTheLimit(t *testing.T) {
	serials := []string{"ewr-a0000000000040", "ewr-b0000000000040", "ewr-c0000000000040"}
	r := newRig(t, func(c *Config) { c.Disks = func() ([]string, int, error) { return serials, 0, nil } })
	r.staged = []string{"a0000000-0000-4000-8000-000000000000", "b0000000-0000-4000-8000-000000000000"}
	r.answers(idA)
	r.kube.Put(nodePath, `{}`)
	r.kube.Put("/apis/storage.k8s.io/v1/csinodes/worker-1", `{"spec":{"drivers":[{"name":"block.csi.vultr.com","nodeID":"`+idA+`"}]}}`)
	r.run()
	r.limit(11 - 1)
	noter := attachlimit.NewNoter(r.cfg.Kube, "block.csi.vultr.com", events.NewRecorder(nil))
	noter.Refused(t.Context(), idA, 8)
	r.limit(8 - 1)
	noter.Refused(t.Context(), idB, 4) // another node's
	r.limit(8 - 1)
	noter.Refused(t.Context(), idA, 2) // by a read that was behind
	r.limit(3 - 1)
	serials = serials[:2]
	r.limit(3)
	r.kube.Put(nodePath, `{}`) // the administrator has it forgotten
	r.limit(11)
}

// TestUnknownDisks: a machine whose disks cannot be listed tells no limit.
func TestUnknownDisks(t *testing.T) {
	fault := errors.New("no sysfs")
	r := newRig(t, func(c *Config) { c.Disks = func() ([]string, int, error) { return nil, 0, fault } })
	r.answers(idA)
	r.run()
	if _, err := r.info(); !errors.Is(err, fault) {
		t.Errorf("got %v", err)
	}
}
