package controller_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestCapabilities(t *testing.T) {
	t.Parallel()
	resp, err := newRig(t).ControllerGetCapabilities(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range resp.GetCapabilities() {
		got = append(got, c.GetRpc().GetType().String())
	}
	slices.Sort(got)
	if want := []string{
		"CLONE_VOLUME", "CREATE_DELETE_SNAPSHOT", "CREATE_DELETE_VOLUME", "EXPAND_VOLUME", "GET_CAPACITY", "GET_SNAPSHOT",
		"GET_VOLUME", "GET_VOLUME_HEALTH", "LIST_SNAPSHOTS", "LIST_VOLUMES", "LIST_VOLUMES_PUBLISHED_NODES",
		"LIST_VOLUME_HEALTH", "MODIFY_VOLUME", "PUBLISH_READONLY", "PUBLISH_UNPUBLISH_VOLUME", "SINGLE_NODE_MULTI_WRITER",
	}; !slices.Equal(got, want) {
		t.Errorf("announced are %v", got)
	}
}

func TestCreateMakesWhatIsAskedFor(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		req := createRequest("pvc-1", 0)
		req.CapacityRange.RequiredBytes = 50*gib + 1
		req.Parameters = map[string]string{"disk_type": "hdd"}
		req.AccessibilityRequirements = in("lax")
		resp, err := r.CreateVolume(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		v, err := r.api.Volume(t.Context(), resp.GetVolume().GetVolumeId())
		if err != nil {
			t.Fatal(err)
		}
		if v.Label != "pvc-1" || v.SizeGB != 51 || v.Type != vultr.StorageOpt || v.Region != "lax" || !v.Active() {
			t.Errorf("made was %+v", v)
		}
		if resp.GetVolume().GetCapacityBytes() != 51*gib {
			t.Errorf("reported are %d bytes", resp.GetVolume().GetCapacityBytes())
		}
		if got := resp.GetVolume().GetAccessibleTopology()[0].GetSegments(); !maps.Equal(got, map[string]string{topology.Key: "lax"}) {
			t.Errorf("reported topology is %v", got)
		}
	})
}

// TestCreateEncrypted: the node learns by the volume context alone that a volume is to be encrypted.
func TestCreateEncrypted(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		for name, encryption := range map[string]string{"pvc-plain": "", "pvc-encrypted": "luks2"} {
			req := createRequest(name, 0)
			if encryption != "" {
				req.Parameters = map[string]string{"encryption": encryption}
			}
			for range 2 {
				resp, err := r.CreateVolume(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				got, has := resp.GetVolume().GetVolumeContext()["encryption"]
				if got != encryption || has != (encryption != "") {
					t.Errorf("%s: the volume context has %q", name, resp.GetVolume().GetVolumeContext())
				}
				for parameter, confirmed := range map[string]bool{"": encryption == "", "luks2": encryption != ""} {
					check := &csi.ValidateVolumeCapabilitiesRequest{
						VolumeId: resp.GetVolume().GetVolumeId(), VolumeContext: resp.GetVolume().GetVolumeContext(),
						VolumeCapabilities: req.GetVolumeCapabilities(), Parameters: map[string]string{"disk_type": "nvme", "encryption": parameter},
					}
					answer, err := r.ValidateVolumeCapabilities(t.Context(), check)
					if err != nil || (answer.GetConfirmed() != nil) != confirmed {
						t.Errorf("%s with parameter %q: %v, %v", name, parameter, answer, err)
					}
				}
			}
		}
		req := createRequest("pvc-other", 0)
		req.Parameters = map[string]string{"encryption": "aes"}
		_, err := r.CreateVolume(t.Context(), req)
		want(t, err, codes.InvalidArgument, "luks2")
	})
}

func TestCreateTwiceIsOnce(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		first := r.create("pvc-1")
		if again := r.create("pvc-1"); again.GetVolumeId() != first.GetVolumeId() {
			t.Errorf("two volumes: %s, %s", first.GetVolumeId(), again.GetVolumeId())
		}
		other := newRigInBubble(t, r.cloud)
		if again := other.create("pvc-1"); again.GetVolumeId() != first.GetVolumeId() {
			t.Errorf("another controller made another volume: %s, %s", first.GetVolumeId(), again.GetVolumeId())
		}
		if n := r.cloud.Count("create_block"); n != 1 {
			t.Errorf("%d creates were sent", n)
		}
	})
}

func TestCreateComparesWhatExists(t *testing.T) {
	r := newRig(t)
	r.create("pvc-1")
	for name, c := range map[string]struct {
		change func(*csi.CreateVolumeRequest)
		words  []string
	}{
		"larger":     {func(q *csi.CreateVolumeRequest) { q.CapacityRange.RequiredBytes = 20 * gib }, []string{"bytes"}},
		"other type": {func(q *csi.CreateVolumeRequest) { q.Parameters = map[string]string{"disk_type": "hdd"} }, []string{"type nvme", "hdd"}},
		"elsewhere":  {func(q *csi.CreateVolumeRequest) { q.AccessibilityRequirements = in("lax") }, []string{"region ewr", "lax"}},
	} {
		t.Run(name, func(t *testing.T) {
			req := createRequest("pvc-1", 10)
			c.change(req)
			_, err := r.CreateVolume(t.Context(), req)
			want(t, err, codes.AlreadyExists, c.words...)
		})
	}
}

func TestCreateRefusesWhatCannotBe(t *testing.T) {
	r := newRig(t)
	before := r.calls()
	for name, c := range map[string]struct {
		change func(*csi.CreateVolumeRequest)
		code   codes.Code
		words  []string
	}{
		"no name":         {func(q *csi.CreateVolumeRequest) { q.Name = "" }, codes.InvalidArgument, nil},
		"long name":       {func(q *csi.CreateVolumeRequest) { q.Name = strings.Repeat("n", 129) }, codes.InvalidArgument, nil},
		"no capabilities": {func(q *csi.CreateVolumeRequest) { q.VolumeCapabilities = nil }, codes.InvalidArgument, nil},
		"shared": {func(q *csi.CreateVolumeRequest) {
			q.VolumeCapabilities = append(q.VolumeCapabilities, capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER))
		}, codes.InvalidArgument, []string{"capability 2", "one instance at a time", "shared file system"}},
		"unknown fs": {func(q *csi.CreateVolumeRequest) {
			q.VolumeCapabilities = []*csi.VolumeCapability{{
				AccessMode: writer.GetAccessMode(),
				AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ntfs"}},
			}}
		}, codes.InvalidArgument, []string{"ntfs"}},
		"unknown key": {func(q *csi.CreateVolumeRequest) { q.Parameters = map[string]string{"disk": "hdd"} }, codes.InvalidArgument, []string{"disk_type"}},
		"nfs":         {func(q *csi.CreateVolumeRequest) { q.Parameters = map[string]string{"storage_type": "nfs"} }, codes.InvalidArgument, []string{"block, vfs"}},
		"too large":   {func(q *csi.CreateVolumeRequest) { q.CapacityRange.RequiredBytes = 10001 * gib }, codes.OutOfRange, nil},
		"below the least": {func(q *csi.CreateVolumeRequest) {
			q.CapacityRange = &csi.CapacityRange{RequiredBytes: gib, LimitBytes: 2 * gib}
		}, codes.OutOfRange, nil},
		"source": {func(q *csi.CreateVolumeRequest) { q.VolumeContentSource = &csi.VolumeContentSource{} }, codes.InvalidArgument, nil},
		"mutable": {func(q *csi.CreateVolumeRequest) {
			q.MutableParameters = map[string]string{"x": "y"}
		}, codes.InvalidArgument, nil},
		"no region of ours": {func(q *csi.CreateVolumeRequest) {
			q.AccessibilityRequirements = &csi.TopologyRequirement{Requisite: []*csi.Topology{{Segments: map[string]string{"zone": "a"}}}}
		}, codes.InvalidArgument, []string{topology.Key}},
	} {
		t.Run(name, func(t *testing.T) {
			req := createRequest("pvc-1", 10)
			c.change(req)
			_, err := r.CreateVolume(t.Context(), req)
			want(t, err, c.code, c.words...)
		})
	}
	if after := r.calls(); after != before {
		t.Errorf("%d API calls were made", after-before)
	}
}

func TestCreateTakesTheFirstRegionThatSells(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		// Dallas sells HDD only.
		req := createRequest("pvc-1", 10)
		req.AccessibilityRequirements = in("dfw", "lax", "ewr")
		resp, err := r.CreateVolume(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.GetVolume().GetAccessibleTopology()[0].GetSegments()[topology.Key]; got != "lax" {
			t.Errorf("the volume is in %s", got)
		}
		req = createRequest("pvc-2", 10)
		req.AccessibilityRequirements = in("dfw")
		_, err = r.CreateVolume(t.Context(), req)
		want(t, err, codes.ResourceExhausted, "dfw", "nvme", "regions that do", "ewr", "lax")
		if blocks := r.cloud.Sim.View().Blocks; len(blocks) != 1 {
			t.Errorf("the account has %+v", blocks)
		}
	})
}

// TestCreateWithLostAnswer is the create whose work was done and whose answer never came.
func TestCreateWithLostAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cloud.Fault(simulator.Fault{Operation: "create_block", Action: simulator.FaultResetAfter, Times: 1})
	v := r.create("pvc-1")
	if n := r.cloud.Count("create_block"); n != 1 {
		t.Errorf("%d creates were sent", n)
	}
	if blocks := r.cloud.Sim.View().Blocks; len(blocks) != 1 || blocks[0].ID != v.GetVolumeId() {
		t.Errorf("the account has %+v", blocks)
	}
}

// TestCreateThatMadeNothing is the create that was lost before the work: nothing may be sent again before it is
// proven that nothing was made, and then by the next call.
func TestCreateThatMadeNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.create("warm-up") // a list that lacks the name is known from here on
	r.cloud.Fault(simulator.Fault{Operation: "create_block", Action: simulator.FaultResetBefore, Times: 1})
	_, err := r.CreateVolume(t.Context(), createRequest("pvc-1", 10))
	want(t, err, codes.Unavailable, "made nothing")
	var lost, proof time.Time
	for _, q := range r.cloud.Requests() {
		switch q.Operation {
		case "create_block":
			lost = q.Began
		case "list_blocks":
			proof = q.Began
		}
	}
	if after := proof.Sub(lost); after < settle {
		t.Errorf("absence was believed by a list that began %s after the create, the settle time is %s", after, settle)
	}
	if n := r.cloud.Count("create_block"); n != 2 {
		t.Errorf("%d creates were sent, the warm-up and the lost one are two", n)
	}
	r.create("pvc-1")
	if blocks := r.cloud.Sim.View().Blocks; len(blocks) != 2 {
		t.Errorf("the account has %+v", blocks)
	}
}

// TestCreateGivenUpIsNotRepeated is the caller whose time ends before it is proven that nothing was made.
func TestCreateGivenUpIsNotRepeated(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cloud.Fault(simulator.Fault{Operation: "create_block", Action: simulator.FaultResetAfter, Times: 1})
	hidden := r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStatus, Status: http.StatusInternalServerError})
	ctx, cancel := context.WithTimeout(t.Context(), settle/2)
	defer cancel()
	if _, err := r.CreateVolume(ctx, createRequest("pvc-1", 10)); err == nil {
		t.Fatal("a create that nobody can see succeeded")
	}
	r.cloud.Sim.RemoveFault(hidden)
	short, cancelShort := context.WithTimeout(t.Context(), patience)
	defer cancelShort()
	if _, err := r.CreateVolume(short, createRequest("pvc-1", 10)); err != nil {
		t.Fatal(err)
	}
	if n := r.cloud.Count("create_block"); n != 1 {
		t.Errorf("%d creates were sent", n)
	}
}

// TestNewLeaderDoesNotRepeatACreate has one controller die after the work of its create, and another one, which has
// been running for a while, asked for the same volume over a new connection.
func TestNewLeaderDoesNotRepeatACreate(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		second := newRigInBubble(t, r.cloud)
		second.create("made-long-ago")
		hold := r.cloud.Hold("create_block", simulator.FaultHoldAfter)
		ctx, die := context.WithCancel(t.Context())
		died := make(chan error, 1)
		go func() {
			_, err := r.CreateVolume(ctx, createRequest("pvc-1", 10))
			died <- err
		}()
		hold.Wait()
		die()
		if err := <-died; err == nil {
			t.Fatal("the cut-off create succeeded")
		}
		resp, err := second.CreateVolume(t.Context(), createRequest("pvc-1", 10))
		if err != nil {
			t.Fatal(err)
		}
		hold.Release()
		r.awaitOne("pvc-1", resp.GetVolume().GetVolumeId())
	})
}

// awaitOne waits until the account has one volume of a name, the one with the ID.
func (r *rig) awaitOne(name, id string) {
	r.t.Helper()
	r.await("one volume of the name", func() bool {
		var named []string
		for _, b := range r.cloud.Sim.View().Blocks {
			if b.Label == name {
				named = append(named, b.ID)
			}
		}
		return slices.Equal(named, []string{id})
	})
}

func TestOneOperationPerVolume(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		hold := r.cloud.Hold("attach_block", simulator.FaultHoldBefore)
		done := make(chan error, 1)
		go func() {
			_, err := r.ControllerPublishVolume(t.Context(), publishRequest(v, node))
			done <- err
		}()
		hold.Wait()
		_, err := r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: strings.ToUpper(v)})
		want(t, err, codes.Aborted, "ControllerPublishVolume")
		r.create("pvc-2") // another volume does not wait
		hold.Release()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestDeprecatedParameters: a class that spells parameters as other drivers do is understood, and the claim is told.
func TestDeprecatedParameters(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		req := createRequest("pvc-1", 40)
		req.Parameters = map[string]string{
			"fsType": "xfs", "block_type": "storage_opt", "csi.storage.k8s.io/pvc/name": "data", "csi.storage.k8s.io/pvc/namespace": "shop",
		}
		if _, err := r.CreateVolume(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		told := strings.Join(r.warnings.about[events.Claim{Namespace: "shop", Name: "data"}], "\n")
		for _, words := range []string{"DeprecatedParameter", `"fsType"`, `"block_type"`, `"disk_type": "hdd"`} {
			if !strings.Contains(told, words) {
				t.Errorf("the claim is told %q, which does not say %s", told, words)
			}
		}
		if _, err := r.CreateVolume(t.Context(), createRequest("pvc-2", 10)); err != nil || len(r.warnings.about) != 1 {
			t.Errorf("%v; told was %v", err, r.warnings.about)
		}
	})
}
