package vfsstore

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// rig is a store on a simulated cloud.
type rig struct {
	*Store

	api   *vultr.Client
	cloud *simtest.Cloud
	t     *testing.T
}

// inBubble runs a test on the platform's own delays in fake time.
func inBubble(t *testing.T, lags simulator.ReadLags, f func(t *testing.T, r *rig)) {
	t.Helper()
	testcloud.Bubble(t, simulator.Config{ReadLags: lags}, 5*time.Minute, func(t *testing.T, cloud *simtest.Cloud) {
		cloud.AddInstance(simulator.NewServer{Label: "controller", Region: "ewr"})
		f(t, (&rig{cloud: cloud, t: t}).another())
	})
}

// another is one more controller process, as it were, on the same cloud.
func (r *rig) another() *rig {
	r.t.Helper()
	api := testcloud.Client(r.t, r.cloud)
	return &rig{Store: New(api, Options{}), api: api, cloud: r.cloud, t: r.t}
}

func specOf(name string) volume.Spec {
	return volume.Spec{Name: name, Type: volume.NVMe, SizeGiB: 10, Regions: []string{"ewr"}}
}

func (r *rig) create(name string) string {
	r.t.Helper()
	v, err := r.Create(r.t.Context(), specOf(name))
	r.must(err)
	return v.ID
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// want is for an error with a reason and words.
func (r *rig) want(err error, reason volume.Reason, words ...string) {
	r.t.Helper()
	if volume.ReasonOf(err) != reason {
		r.t.Errorf("got %v (reason %d), want reason %d", err, volume.ReasonOf(err), reason)
		return
	}
	wantWords(r.t, err, words...)
}

func (r *rig) instance(label string) string {
	r.t.Helper()
	return r.cloud.AddInstance(simulator.NewServer{Label: label, Region: "ewr"})
}

// attach attaches and checks that the answer is the truth.
func (r *rig) attach(id, instance string) string {
	r.t.Helper()
	a, err := r.Attach(r.t.Context(), id, instance)
	r.must(err)
	if at := r.at(id, instance); at.State != "ATTACHED" || a.Serial != strconv.Itoa(at.MountTag) {
		r.t.Errorf("the answer is tag %q, in truth it is %+v", a.Serial, at)
	}
	return a.Serial
}

// repeat calls as a sidecar does, until the call succeeds or the time is up.
func (r *rig) repeat(atMost time.Duration, call func(ctx context.Context) error) error {
	r.t.Helper()
	return testcloud.Repeat(r.t, atMost, call)
}

// view is the file system in truth.
func (r *rig) view(id string) (simulator.FileSystemView, bool) {
	all := r.cloud.Sim.View().FileSystems
	i := slices.IndexFunc(all, func(f simulator.FileSystemView) bool { return f.ID == id })
	if i < 0 {
		return simulator.FileSystemView{}, false
	}
	return all[i], true
}

// at is the attachment in truth, the zero value when there is none.
func (r *rig) at(id, instance string) simulator.VFSAttachmentView {
	f, _ := r.view(id)
	for _, a := range f.Attachments {
		if a.Instance == instance {
			return a
		}
	}
	return simulator.VFSAttachmentView{}
}

// named are the IDs of the file systems of a name, in truth.
func (r *rig) named(name string) []string {
	var ids []string
	for _, f := range r.cloud.Sim.View().FileSystems {
		if f.Label == name {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

// statusOf is the status that a fault answers with, 0 for one that does not.
func statusOf(action simulator.FaultAction) int {
	if action == simulator.FaultStatusAfter {
		return http.StatusBadGateway
	}
	return 0
}
