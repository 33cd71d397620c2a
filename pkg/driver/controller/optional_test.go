package controller

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// copying is a kind of storage that can do what block storage cannot do yet. Only what a create needs works.
type copying struct {
	volume.Backend
	volume.Snapshotter
	volume.Cloner
	volume.Modifier

	planned volume.Request
	// judgedFor are the names for which mutable parameters were judged.
	judgedFor []string
	creates   int
	refuses   error
	// modified are the modifications, and fails is what they come to.
	modified []string
	fails    error
}

func (*copying) Kind() volume.Kind { return "copying" }

func (c *copying) Plan(r volume.Request) (volume.Spec, error) {
	c.planned = r
	return volume.Spec{Name: r.Name, SizeGiB: 10, Regions: r.Regions, Source: r.Source}, nil
}

func (c *copying) Create(_ context.Context, s volume.Spec) (volume.Volume, error) {
	c.creates++
	return volume.Volume{ID: "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8", Name: s.Name, SizeGiB: s.SizeGiB, Region: s.Regions[0], Source: s.Source}, nil
}

func (c *copying) CheckModify(name string, _ map[string]string) error {
	c.judgedFor = append(c.judgedFor, name)
	return c.refuses
}

func (c *copying) Modify(_ context.Context, id string, parameters map[string]string) error {
	c.modified = append(c.modified, id+" "+parameters["speed"])
	return c.fails
}

// onlyKind has all volumes.
type onlyKind struct {
	Volumes

	backend volume.Backend
	made    []volume.Volume
}

func (k *onlyKind) Of(context.Context, string) (volume.Backend, error) { return k.backend, nil }

func (k *onlyKind) For(volume.Kind) (volume.Backend, error) { return k.backend, nil }
func (k *onlyKind) Made(v volume.Volume)                    { k.made = append(k.made, v) }

func newCopying() (*Service, *copying, *onlyKind) {
	backend := &copying{}
	volumes := &onlyKind{backend: backend}
	return New(volumes, func(context.Context) (string, error) { return "ewr", nil }, nil), backend, volumes
}

func createOf(name string) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{Name: name, VolumeCapabilities: []*csi.VolumeCapability{{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
	}}}
}

// TestCreateFromSomething: a kind that can copy is told what from, as the platform writes it, and the answer repeats the
// request's words: the provisioner compares them.
func TestCreateFromSomething(t *testing.T) {
	const id, written = "be6c4452-b93b-4f4d-b8c1-2cea28d99fb8", "BE6C4452-B93B-4F4D-B8C1-2CEA28D99FB8"
	for wanted, source := range map[string]*csi.VolumeContentSource{
		"snapshot/" + id: {Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: written}}},
		"volume/" + id:   {Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: written}}},
	} {
		s, backend, volumes := newCopying()
		req := createOf("pvc-1")
		req.VolumeContentSource = source
		resp, err := s.CreateVolume(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		v := resp.GetVolume()
		if got := backend.planned.Source.String(); got != wanted {
			t.Errorf("planned is a volume from %q, not %q", got, wanted)
		}
		if v.GetContentSource().String() != source.String() || v.GetVolumeContext()[volume.ContextContentSource] != wanted {
			t.Errorf("%s: got %v", wanted, v)
		}
		if len(volumes.made) != 1 || volumes.made[0].ID != v.GetVolumeId() {
			t.Errorf("the router was told of %v", volumes.made)
		}
	}
	s, _, _ := newCopying()
	resp, err := s.CreateVolume(t.Context(), createOf("pvc-2"))
	if v := resp.GetVolume(); err != nil || v.GetContentSource() != nil || len(v.GetVolumeContext()) != 0 {
		t.Errorf("an empty volume: %v, %v", v, err)
	}
}

// TestMutableParametersAreJudged: by the kind that has them, before anything is made.
func TestMutableParametersAreJudged(t *testing.T) {
	s, backend, _ := newCopying()
	req := createOf("pvc-1")
	req.MutableParameters = map[string]string{"speed": "ludicrous"}
	backend.refuses = volume.Errorf(volume.Invalid, "speed %q is unknown", "ludicrous")
	if _, err := s.CreateVolume(t.Context(), req); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "ludicrous") || backend.creates != 0 || !slices.Equal(backend.judgedFor, []string{"pvc-1"}) {
		t.Errorf("got %v after %d creates, judged for %q", err, backend.creates, backend.judgedFor)
	}
	backend.refuses = nil
	// Whatever keeps it from being as asked for, it was made: the provisioner must not take it for an end of the matter.
	for _, reason := range []volume.Reason{volume.Busy, volume.InUse, volume.NotFound, volume.Invalid} {
		backend.fails = volume.Errorf(reason, "not now")
		if _, err := s.CreateVolume(t.Context(), req); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "not now") {
			t.Errorf("a volume that is not as asked for: got %v", err)
		}
	}
	backend.fails, backend.creates, backend.modified = nil, 0, nil
	if _, err := s.CreateVolume(t.Context(), req); err != nil || backend.creates != 1 || len(backend.modified) != 1 || !strings.HasSuffix(backend.modified[0], " ludicrous") {
		t.Errorf("got %v after %d creates and %q", err, backend.creates, backend.modified)
	}
	req.MutableParameters = nil
	if _, err := s.CreateVolume(t.Context(), req); err != nil || len(backend.modified) != 1 {
		t.Errorf("without any: got %v and %q", err, backend.modified)
	}
}

// TestModify: all is judged before anything is changed, and what can't be changed is said to be so.
func TestModify(t *testing.T) {
	const id = "be6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	s, backend, _ := newCopying()
	ask := func(id string) codes.Code {
		_, err := s.ControllerModifyVolume(t.Context(), &csi.ControllerModifyVolumeRequest{VolumeId: id, MutableParameters: map[string]string{"speed": "high"}})
		return status.Code(err)
	}
	if a, b := ask(""), ask("no-volume"); a != codes.InvalidArgument || b != codes.NotFound {
		t.Errorf("got %s, %s", a, b)
	}
	backend.refuses = volume.Errorf(volume.Invalid, "no")
	if got := ask(id); got != codes.InvalidArgument || len(backend.modified) != 0 {
		t.Errorf("got %s and %q", got, backend.modified)
	}
	backend.refuses = nil
	if got := ask("BE6C4452-B93B-4F4D-B8C1-2CEA28D99FB8"); got != codes.OK || len(backend.modified) != 1 || backend.modified[0] != id+" high" {
		t.Errorf("got %s and %q", got, backend.modified)
	}
	s.volumes.(*onlyKind).backend = struct{ volume.Backend }{backend} //nolint:forcetypeassert // it is what newCopying makes
	if got := ask(id); got != codes.InvalidArgument {
		t.Errorf("of a kind that can't: got %s", got)
	}
}

// TestRegionsOfARequest: the terms of the request are taken, whichever there are, and the driver's own region is asked
// for only without any: it may not be known.
func TestRegionsOfARequest(t *testing.T) {
	lax := []*csi.Topology{{Segments: topology.Segments("lax")}}
	for name, c := range map[string]struct {
		terms *csi.TopologyRequirement
		want  string
	}{
		"none": {nil, "ewr"}, "preferred": {&csi.TopologyRequirement{Preferred: lax}, "lax"},
		"requisite": {&csi.TopologyRequirement{Requisite: lax}, "lax"}, "both": {&csi.TopologyRequirement{Preferred: lax, Requisite: lax}, "lax"},
	} {
		s, backend, _ := newCopying()
		asked := false
		s.defaultRegion = func(context.Context) (string, error) { asked = true; return "ewr", nil }
		req := createOf("pvc-1")
		req.AccessibilityRequirements = c.terms
		_, err := s.CreateVolume(t.Context(), req)
		if got := backend.planned.Regions; err != nil || len(got) != 1 || got[0] != c.want || asked != (c.terms == nil) {
			t.Errorf("%s: got %v, asked for the driver's own %t, %v", name, got, asked, err)
		}
	}
}

// TestNamesAreNoIDs: a create of a name that reads as a volume's ID has nothing to do with that volume.
func TestNamesAreNoIDs(t *testing.T) {
	const id = "be6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	s, _, _ := newCopying()
	end, err := s.begin(id, "DeleteVolume")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if _, err := s.CreateVolume(t.Context(), createOf(id)); err != nil {
		t.Errorf("got %v", err)
	}
}
