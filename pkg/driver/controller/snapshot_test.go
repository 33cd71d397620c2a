package controller_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const nothing = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"

func (r *rig) snapshot(name, source string) *csi.Snapshot {
	r.t.Helper()
	resp, err := r.CreateSnapshot(r.t.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: source})
	if err != nil {
		r.t.Fatalf("snapshot %s: %v", name, err)
	}
	return resp.GetSnapshot()
}

func (r *rig) listSnapshots(req *csi.ListSnapshotsRequest) (ids []string, next string) {
	r.t.Helper()
	resp, err := r.ListSnapshots(r.t.Context(), req)
	if err != nil {
		r.t.Fatalf("list %v: %v", req, err)
	}
	for _, e := range resp.GetEntries() {
		ids = append(ids, e.GetSnapshot().GetSnapshotId())
	}
	return ids, resp.GetNextToken()
}

// TestSnapshotLife: it is made, becomes ready, is read, restored and deleted.
func TestSnapshotLife(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		source := r.create("pvc-source").GetVolumeId()
		began := time.Now()
		s := r.snapshot("snapshot-1", source)
		if s.GetReadyToUse() || s.GetSourceVolumeId() != source || s.GetSizeBytes() != 10*gib {
			t.Errorf("got %v", s)
		}
		if at := s.GetCreationTime().AsTime(); at.Before(began.Add(-2*time.Second)) || at.After(time.Now()) {
			t.Errorf("it was made at %v", at)
		}
		if got, err := r.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: s.GetSnapshotId()}); err != nil || got.GetSnapshot().GetSnapshotId() != s.GetSnapshotId() {
			t.Errorf("one that is not ready is read as %v, %v", got, err)
		}
		time.Sleep(time.Minute) // of the fake clock
		if again := r.snapshot("snapshot-1", source); again.GetSnapshotId() != s.GetSnapshotId() || !again.GetReadyToUse() {
			t.Errorf("got %v", again)
		}
		for name, content := range map[string]*csi.VolumeContentSource{
			"pvc-restored": {Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: s.GetSnapshotId()}}},
			"pvc-cloned":   {Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: source}}},
		} {
			req := createRequest(name, 20)
			req.VolumeContentSource = content
			resp, err := r.CreateVolume(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			v := resp.GetVolume()
			if v.GetCapacityBytes() != 20*gib || v.GetContentSource().String() != content.String() || v.GetVolumeContext()["block.csi.vultr.com/content-source"] == "" {
				t.Errorf("%s: got %v", name, v)
			}
			again, err := r.CreateVolume(t.Context(), req)
			if err != nil || again.GetVolume().GetVolumeId() != v.GetVolumeId() || again.GetVolume().GetVolumeContext()["block.csi.vultr.com/content-source"] != v.GetVolumeContext()["block.csi.vultr.com/content-source"] {
				t.Errorf("%s again: got %v, %v", name, again, err)
			}
		}
		for range 2 {
			_, err := r.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: s.GetSnapshotId()})
			want(t, err, codes.OK)
		}
		_, err := r.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: s.GetSnapshotId()})
		want(t, err, codes.NotFound)
		if left := r.cloud.Sim.View().Snapshots; len(left) != 0 {
			t.Errorf("left are %+v", left)
		}
	})
}

// TestSnapshotRefusals hold what can be judged by the request, and what needs a look.
func TestSnapshotRefusals(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		source := r.create("pvc-source").GetVolumeId()
		for name, c := range map[string]struct {
			req  *csi.CreateSnapshotRequest
			want codes.Code
		}{
			"no name":   {&csi.CreateSnapshotRequest{SourceVolumeId: source}, codes.InvalidArgument},
			"no source": {&csi.CreateSnapshotRequest{Name: "s"}, codes.InvalidArgument},
			"no volume": {&csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "not-a-volume"}, codes.NotFound},
			"missing":   {&csi.CreateSnapshotRequest{Name: "of-nothing", SourceVolumeId: nothing}, codes.NotFound},
			"a long name": {
				&csi.CreateSnapshotRequest{Name: string(make([]byte, 129)), SourceVolumeId: source}, codes.InvalidArgument,
			},
			"a parameter": {
				&csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: source, Parameters: map[string]string{"type": "x"}}, codes.InvalidArgument,
			},
			"the sidecar's parameters": {&csi.CreateSnapshotRequest{
				Name: "s", SourceVolumeId: source, Parameters: map[string]string{"csi.storage.k8s.io/volumesnapshot/name": "x"},
			}, codes.OK},
		} {
			_, err := r.CreateSnapshot(t.Context(), c.req)
			t.Log(name)
			want(t, err, c.want)
		}
		other := r.create("pvc-other").GetVolumeId()
		_, err := r.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: other})
		want(t, err, codes.AlreadyExists, source)
		for id, code := range map[string]codes.Code{"": codes.InvalidArgument, "not-a-snapshot": codes.OK, nothing: codes.OK} {
			_, err := r.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: id})
			want(t, err, code)
		}
		for id, code := range map[string]codes.Code{"": codes.InvalidArgument, "not-a-snapshot": codes.NotFound, nothing: codes.NotFound} {
			_, err := r.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: id})
			want(t, err, code)
		}
	})
}

// TestListSnapshots: all, also those made by hand, in pages; one; those of a volume; and none for what does not exist.
func TestListSnapshots(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		one, two := r.create("pvc-1").GetVolumeId(), r.create("pvc-2").GetVolumeId()
		var all []string
		for _, name := range []string{"snapshot-1", "snapshot-2", "snapshot-3"} {
			all = append(all, r.snapshot(name, one).GetSnapshotId())
		}
		byHand, err := r.api.CreateSnapshot(t.Context(), two, "made by hand")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // of the fake clock
		slices.Sort(all)
		ofOne := slices.Clone(all)
		all = append(all, byHand.ID)
		slices.Sort(all)
		for name, c := range map[string]struct {
			req  *csi.ListSnapshotsRequest
			want []string
		}{
			"all":                    {&csi.ListSnapshotsRequest{}, all},
			"of a volume":            {&csi.ListSnapshotsRequest{SourceVolumeId: one}, ofOne},
			"of no volume":           {&csi.ListSnapshotsRequest{SourceVolumeId: nothing}, nil},
			"one":                    {&csi.ListSnapshotsRequest{SnapshotId: byHand.ID}, []string{byHand.ID}},
			"one, of its volume":     {&csi.ListSnapshotsRequest{SnapshotId: byHand.ID, SourceVolumeId: two}, []string{byHand.ID}},
			"one, of another volume": {&csi.ListSnapshotsRequest{SnapshotId: byHand.ID, SourceVolumeId: one}, nil},
			"none":                   {&csi.ListSnapshotsRequest{SnapshotId: nothing}, nil},
			"malformed":              {&csi.ListSnapshotsRequest{SnapshotId: "not-a-snapshot"}, nil},
		} {
			if got, next := r.listSnapshots(c.req); !slices.Equal(got, c.want) || next != "" {
				t.Errorf("%s: got %s, next %q", name, got, next)
			}
		}
		var paged []string
		token := ""
		for {
			ids, next := r.listSnapshots(&csi.ListSnapshotsRequest{MaxEntries: 3, StartingToken: token})
			paged, token = append(paged, ids...), next
			if token == "" {
				break
			}
		}
		if !slices.Equal(paged, all) {
			t.Errorf("in pages: %s, want %s", paged, all)
		}
		_, err = r.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{StartingToken: "x"})
		want(t, err, codes.Aborted, "starting_token")
		_, err = r.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{MaxEntries: -1})
		want(t, err, codes.InvalidArgument)
		// A list that fails is not an empty one.
		r.cloud.Fault(simulator.Fault{Operation: "list_block_snapshots", Action: simulator.FaultStatus, Status: 403})
		_, err = r.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{})
		want(t, err, codes.Unavailable)
		r.cloud.Fault(simulator.Fault{Operation: "get_block_snapshot", Action: simulator.FaultStatus, Status: 403})
		_, err = r.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SnapshotId: byHand.ID})
		want(t, err, codes.Unavailable)
	})
}

// TestSnapshotOfAFileSystem: it has no snapshots, which is told apart from a volume that does not exist.
func TestSnapshotOfAFileSystem(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		f, err := r.api.CreateFileSystem(t.Context(), vultr.FileSystemRequest{Label: "shared", Region: "ewr", SizeGB: 10})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // of the fake clock
		_, err = r.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: f.ID})
		want(t, err, codes.InvalidArgument, "vfs")
	})
}

// TestMalformedSources name nothing that exists.
func TestMalformedSources(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		for _, source := range []*csi.VolumeContentSource{
			{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: "no-uuid"}}},
			{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: "no-uuid"}}},
		} {
			req := createRequest("pvc-1", 10)
			req.VolumeContentSource = source
			_, err := r.CreateVolume(t.Context(), req)
			want(t, err, codes.NotFound, "no-uuid")
		}
	})
}

// TestOneCallPerSnapshot: a second call for a name or an ID is refused while one is under way.
func TestOneCallPerSnapshot(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		source := r.create("pvc-source").GetVolumeId()
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.snapshot("snapshot-1", source)
		}()
		time.Sleep(100 * time.Millisecond) // of the fake clock
		_, err := r.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "snapshot-1", SourceVolumeId: source})
		want(t, err, codes.Aborted, "CreateSnapshot")
		<-done
	})
}

// TestSlowSnapshotIsTold: every call for a snapshot that takes long succeeds, so its owner is told of it: seldom, and with the
// state and the time.
func TestSlowSnapshotIsTold(t *testing.T) {
	delays := simulator.DefaultDelays()
	delays.Snapshot = 20 * time.Minute
	inBubble(t, simulator.Config{Delays: delays}, func(t *testing.T, r *rig) {
		const uid = "0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
		req := &csi.CreateSnapshotRequest{Name: "snapshot-" + uid, SourceVolumeId: r.create("pvc-source").GetVolumeId(), Parameters: map[string]string{
			"csi.storage.k8s.io/volumesnapshot/namespace": "team", "csi.storage.k8s.io/volumesnapshot/name": "daily",
			"csi.storage.k8s.io/volumesnapshotcontent/name": "snapcontent-" + uid,
		}}
		id := ""
		for range 45 {
			resp, err := r.CreateSnapshot(t.Context(), req)
			want(t, err, codes.OK)
			id = resp.GetSnapshot().GetSnapshotId()
			time.Sleep(30 * time.Second) // of the fake clock
		}
		told := r.warnings.about[events.Snapshot("team", "daily", uid)]
		if told = slices.Compact(told); len(told) != 2 {
			t.Fatalf("told was %q", told)
		}
		for i, words := range []string{"5m0s", "15m0s"} {
			if !strings.HasPrefix(told[i], "SnapshotPending: Snapshot "+id) || !strings.Contains(told[i], words) || !strings.Contains(strings.ToLower(told[i]), `"pending"`) {
				t.Errorf("told was %q", told[i])
			}
		}
	})
}

// TestFailedSnapshotIsNotPending: a process that was just started answers a snapshot that failed as not ready, so that it is deleted.
// It does not say of it that it goes on.
func TestFailedSnapshotIsNotPending(t *testing.T) {
	for state, tells := range map[string]int{"PENDING": 1, "ERROR": 0} {
		inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
			source := r.create("pvc-source").GetVolumeId()
			time.Sleep(time.Minute) // of the fake clock
			made, err := r.api.CreateSnapshot(t.Context(), source, "snapshot-1")
			if err != nil {
				t.Fatal(err)
			}
			at := time.Now().UTC().Format(time.DateTime)
			time.Sleep(10 * time.Minute) // of the fake clock
			r.cloud.Fault(simulator.Fault{
				Operation: "list_block_snapshots", Action: simulator.FaultStatus, Status: http.StatusOK,
				Body: fmt.Sprintf(`{"snapshots":[{"id":%q,"block_id":%q,"description":"snapshot-1","state":%q,"added_at":%q,"updated_at":%q,"size":10737418240}],
					"meta":{"total":1,"links":{"next":"","prev":""}}}`, made.ID, source, state, at, at),
			})
			if snap := r.snapshot("snapshot-1", source); snap.GetReadyToUse() || snap.GetSnapshotId() != made.ID {
				t.Errorf("%s: answered was %v", state, snap)
			}
			if told := r.warnings.about[events.Snapshot("", "", "")]; len(told) != tells {
				t.Errorf("%s: told was %q", state, told)
			}
		})
	}
}

// TestSnapshotOutlivesItsVolume: a snapshot that is there is the answer to a CreateSnapshot that is repeated, whether or not its volume is
// still there, by the process that made it and by one that was just started. Of a volume that never was there is none.
func TestSnapshotOutlivesItsVolume(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		source := r.create("pvc-source").GetVolumeId()
		made := r.snapshot("snapshot-1", source)
		time.Sleep(time.Minute) // of the fake clock
		want(t, r.delete(source), codes.OK)
		time.Sleep(time.Minute) // of the fake clock
		for what, p := range map[string]*rig{"who made it": r, "a process that was just started": newRigInBubble(t, r.cloud)} {
			if again := p.snapshot("snapshot-1", source); again.GetSnapshotId() != made.GetSnapshotId() {
				t.Errorf("%s answers %v, the snapshot is %s", what, again, made.GetSnapshotId())
			}
			for name, of := range map[string]string{"snapshot-2": source, "snapshot-1": uuid.NewString()} {
				code := codes.NotFound
				if name == "snapshot-1" {
					code = codes.AlreadyExists // of another volume
				}
				_, err := p.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: of})
				want(t, err, code)
			}
		}
	})
}
