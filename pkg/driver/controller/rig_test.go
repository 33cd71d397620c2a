package controller_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/controller"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/router"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/vfsstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	gib = volume.GiB
	// settle is the settle time of the tests: longer than the listing lag of the simulated cloud (20 ms).
	settle = 300 * time.Millisecond
	// twinCheck is how soon after the settle time the tests have a created name looked at again.
	twinCheck = 100 * time.Millisecond
	// attachWindow is longer than an attach to the simulated cloud (80 ms).
	attachWindow = 600 * time.Millisecond
	// lookAgain is longer than the lag of reads of the simulated cloud (20 ms).
	lookAgain = 50 * time.Millisecond
	// patience bounds waits of tests on a busy machine.
	patience = time.Minute
)

// rig is a controller on a simulated cloud, spoken to over real HTTP.
type rig struct {
	*controller.Service
	cloud *simtest.Cloud
	// self is the instance that the controller runs on.
	self    string
	account *account.Account
	disks   *blockstore.Store
	api     *vultr.Client
	unseen  time.Duration
	// warnings are what the owners of claims were told.
	warnings warnings
	t        *testing.T
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, simtest.Start(t, simtest.Options{}), simtest.Key)
}

// newRigOn makes one more controller process, as it were, on the same cloud.
func newRigOn(t *testing.T, cloud *simtest.Cloud, key string) *rig {
	t.Helper()
	api, err := vultr.New(vultr.Config{
		BaseURL: cloud.URL, Key: key, StartRate: 500, MaxRate: 500, SettleTime: settle, TimeScale: simtest.FastTimeScale,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{cloud: cloud, self: addController(cloud), api: api, unseen: patience, t: t}
	r.restart(attachWindow)
	return r
}

// restart makes the service of a new process, which believes for the time given that another one's attach may come.
func (r *rig) restart(window time.Duration) {
	region := func(context.Context) (string, error) { return "ewr", nil }
	r.account = account.New(r.api, memberIs(r.self))
	options := blockstore.Options{
		AttachWindow: window, Unseen: r.unseen, TwinCheck: twinCheck,
		LookAgain: lookAgain, Account: r.account,
	}
	r.disks = blockstore.New(r.api, options)
	options.Beside = r.disks
	r.Service = controller.New(router.New([]volume.Backend{r.disks, vfsstore.New(r.api, options)}), region, &r.warnings)
}

// addController adds the instance that a controller runs on.
func addController(cloud *simtest.Cloud) string {
	return cloud.AddInstance(simulator.NewServer{Label: "controller", Region: "ewr"})
}

// memberIs knows one instance of the cluster.
func memberIs(instance string) account.Members {
	return func(context.Context) ([]string, error) { return []string{instance}, nil }
}

// warnings collects what is told.
type warnings struct {
	mu    sync.Mutex
	about map[events.Claim][]string
}

// Warn notes the warning.
func (w *warnings) Warn(_ context.Context, claim events.Claim, reason, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.about == nil {
		w.about = map[events.Claim][]string{}
	}
	w.about[claim] = append(w.about[claim], reason+": "+message)
}

// await waits until the simulated cloud is as wished.
func (r *rig) await(what string, is func() bool) {
	r.t.Helper()
	r.cloud.Await(what, is)
}

func capability(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
	}
}

var writer = capability(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER)

func createRequest(name string, sizeGiB int64) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{
		Name: name, VolumeCapabilities: []*csi.VolumeCapability{writer}, CapacityRange: &csi.CapacityRange{RequiredBytes: sizeGiB * gib},
	}
}

func (r *rig) create(name string) *csi.Volume {
	r.t.Helper()
	resp, err := r.CreateVolume(r.t.Context(), createRequest(name, 10))
	if err != nil {
		r.t.Fatalf("create %s: %v", name, err)
	}
	return resp.GetVolume()
}

func (r *rig) instance(label string) string {
	r.t.Helper()
	return r.cloud.AddInstance(simulator.NewServer{Label: label, Region: "ewr"})
}

func publishRequest(id, node string) *csi.ControllerPublishVolumeRequest {
	return &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: node, VolumeCapability: writer}
}

func (r *rig) publish(id, node string) map[string]string {
	r.t.Helper()
	resp, err := r.ControllerPublishVolume(r.t.Context(), publishRequest(id, node))
	if err != nil {
		r.t.Fatalf("publish %s: %v", id, err)
	}
	return resp.GetPublishContext()
}

func (r *rig) unpublish(id, node string) error {
	_, err := r.ControllerUnpublishVolume(r.t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: node})
	return err
}

// attachedTo is where the volume is in truth.
func (r *rig) attachedTo(id string) string {
	r.t.Helper()
	for _, b := range r.cloud.Sim.View().Blocks {
		if b.ID == id {
			return b.AttachedTo
		}
	}
	return "nowhere: it does not exist"
}

// calls tells how many API calls were made by now, failed ones included.
func (r *rig) calls() int {
	total := 0
	for _, c := range r.cloud.Sim.Counters() {
		total += c.Total
	}
	return total
}

// want checks the code of an error and that its text has the words.
func want(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func in(regions ...string) *csi.TopologyRequirement {
	req := &csi.TopologyRequirement{}
	for _, r := range regions {
		term := &csi.Topology{Segments: topology.Segments(r)}
		req.Requisite = append(req.Requisite, term)
		req.Preferred = append(req.Preferred, term)
	}
	return req
}
