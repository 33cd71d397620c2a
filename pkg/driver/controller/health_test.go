package controller_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const goneInstance = "00000000-0000-4000-8000-00000000dead"

// shown is a volume as the platform shows it.
type shown struct {
	id, status, at string
	age            time.Duration
}

func (s shown) json() string {
	return fmt.Sprintf(`{"id":%q,"date_created":%q,"cost":1,"status":%q,"size_gb":10,"region":"ewr","attached_to_instance":%q,"label":"pvc-1",`+
		`"mount_id":"ewr-00000000000000","block_type":"high_perf","snapshot_id":"0"}`,
		s.id, time.Now().Add(-s.age).UTC().Format(time.RFC3339), s.status, s.at)
}

// shows makes the platform show these volumes and no others, and the first of them in single reads.
func (r *rig) shows(all ...shown) {
	var bodies []string
	for _, s := range all {
		bodies = append(bodies, s.json())
	}
	r.cloud.Fault(simulator.Fault{
		Operation: "list_blocks", Action: simulator.FaultStatus, Status: http.StatusOK,
		Body: fmt.Sprintf(`{"blocks":[%s],"meta":{"total":%d,"links":{"next":"","prev":""}}}`, strings.Join(bodies, ","), len(all)),
	})
	r.cloud.Fault(simulator.Fault{Operation: "get_block", Action: simulator.FaultStatus, Status: http.StatusOK, Body: `{"block":` + bodies[0] + `}`})
}

func (r *rig) health(id string) []*csi.VolumeHealth_VolumeHealthEntry {
	r.t.Helper()
	resp, err := r.ControllerGetVolumeHealth(r.t.Context(), &csi.ControllerGetVolumeHealthRequest{VolumeId: id})
	want(r.t, err, codes.OK)
	if got := resp.GetVolumeHealth().GetVolumeId(); got != id {
		r.t.Errorf("it is the health of %q, not %q", got, id)
	}
	return resp.GetVolumeHealth().GetHealthStatuses()
}

// TestVolumeHealth: what is wrong is said of the volume by itself and in the list of all that are unwell.
func TestVolumeHealth(t *testing.T) {
	const degraded, inaccessible = csi.VolumeHealthErrorType_DEGRADED, csi.VolumeHealthErrorType_INACCESSIBLE
	for name, c := range map[string]struct {
		volume shown
		status csi.VolumeHealthErrorType
		reason string // "" is well
		words  string
	}{
		"well":                       {volume: shown{status: "active"}},
		"attached":                   {volume: shown{status: "active", at: "self"}},
		"just created":               {volume: shown{status: "pending", age: time.Minute}},
		"pending for long":           {shown{status: "pending", age: 11 * time.Minute}, inaccessible, "StillPending", "has not become active"},
		"failed":                     {shown{status: "error"}, inaccessible, "VolumeFailed", `status "error"`},
		"a new word":                 {shown{status: "migrating"}, degraded, "UnknownStatus", `status "migrating"`},
		"at an instance that's gone": {shown{status: "active", at: goneInstance}, inaccessible, "InstanceGone", goneInstance},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
				v := c.volume
				v.id = uuid.NewString()
				if v.at == "self" {
					v.at = r.self
				}
				r.shows(v)
				list, err := r.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{})
				want(t, err, codes.OK)
				entries := r.health(v.id)
				if c.reason == "" {
					if len(entries) != 0 || len(list.GetEntries()) != 0 {
						t.Errorf("got %v and in the list %v", entries, list.GetEntries())
					}
					return
				}
				if len(list.GetEntries()) != 1 || list.GetEntries()[0].GetVolumeId() != v.id {
					t.Fatalf("the list has %v", list.GetEntries())
				}
				for what, got := range map[string][]*csi.VolumeHealth_VolumeHealthEntry{"alone": entries, "in the list": list.GetEntries()[0].GetHealthStatuses()} {
					if len(got) != 1 || got[0].GetStatus() != c.status || got[0].GetReason() != c.reason || !strings.Contains(got[0].GetMessage(), c.words) {
						t.Errorf("%s: got %v", what, got)
					}
				}
			})
		})
	}
}

// TestHealthOfWhatIsNotKnown: a volume that does not exist is not found, and what can't be looked at is not taken for well or gone.
func TestHealthOfWhatIsNotKnown(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		ask := func(id string) error {
			_, err := r.ControllerGetVolumeHealth(t.Context(), &csi.ControllerGetVolumeHealthRequest{VolumeId: id})
			return err
		}
		want(t, ask(""), codes.InvalidArgument, "volume_id")
		want(t, ask("no-volume"), codes.NotFound, "no-volume")
		want(t, ask(uuid.NewString()), codes.NotFound)

		v := shown{id: uuid.NewString(), status: "active", at: goneInstance}
		r.shows(v)
		r.cloud.Fault(simulator.Fault{
			Operation: "get_instance", Action: simulator.FaultStatus, Status: http.StatusForbidden, Body: `{"error":"no","status":403}`,
		})
		want(t, ask(v.id), codes.Unavailable, goneInstance, "403")
		time.Sleep(2 * time.Minute) // of the fake clock, until the list that was read above is too old
		_, err := r.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{})
		want(t, err, codes.Unavailable, goneInstance)
	})
}

// TestHealthWithoutAWitness: an account that shows none of the cluster's instances proves of none that it is gone.
func TestHealthWithoutAWitness(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v := shown{id: uuid.NewString(), status: "active", at: goneInstance}
		r.shows(v)
		for operation, field := range map[string]string{"list_instances": "instances", "list_bare_metals": "bare_metals"} {
			r.cloud.Fault(simulator.Fault{
				Operation: operation, Action: simulator.FaultStatus, Status: http.StatusOK,
				Body: `{"` + field + `":[],"meta":{"total":0,"links":{"next":"","prev":""}}}`,
			})
		}
		time.Sleep(2 * time.Minute) // of the fake clock, until the list that was read at the start is too old
		_, err := r.ControllerGetVolumeHealth(t.Context(), &csi.ControllerGetVolumeHealthRequest{VolumeId: v.id})
		want(t, err, codes.Unavailable, goneInstance)
		_, err = r.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{})
		want(t, err, codes.Unavailable, goneInstance)
	})
}

// TestHealthListPages as the list of volumes does.
func TestHealthListPages(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		var all []shown
		for i := range 5 {
			all = append(all, shown{id: fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", i), status: []string{"error", "active"}[i%2]})
		}
		r.shows(all...)
		var got []string
		req := &csi.ControllerListVolumeHealthRequest{MaxEntries: 2}
		for range 2 {
			resp, err := r.ControllerListVolumeHealth(t.Context(), req)
			want(t, err, codes.OK)
			for _, e := range resp.GetEntries() {
				got = append(got, e.GetVolumeId()[35:])
			}
			req.StartingToken = resp.GetNextToken()
		}
		if strings.Join(got, " ") != "0 2 4" || req.GetStartingToken() != "" {
			t.Errorf("got %v, and then %q", got, req.GetStartingToken())
		}
		if lists := r.cloud.Count("list_blocks"); lists != 1 {
			t.Errorf("it took %d lists", lists)
		}
		_, err := r.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{StartingToken: "x"})
		want(t, err, codes.Aborted, "starting_token")
		_, err = r.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{MaxEntries: -1})
		want(t, err, codes.InvalidArgument, "max_entries")
	})
}

// TestHealthIsCheap: of a hundred volumes at ten nodes, all at once, it takes a list of each kind, and the next minute nothing.
func TestHealthIsCheap(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		var all []shown
		for i := range 100 {
			all = append(all, shown{id: fmt.Sprintf("00000000-0000-4000-8000-0000000000%02d", i), status: "active", at: r.self})
		}
		r.shows(all...)
		before := r.calls()
		for range 3 {
			_, err := r.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{})
			want(t, err, codes.OK)
			time.Sleep(15 * time.Second) // of the fake clock
		}
		// Servers are two lists, virtual ones and bare metal.
		if calls := r.calls() - before; calls > 3 {
			t.Errorf("it took %d calls", calls)
		}
	})
}

// TestHealthOfADestroyedNode: that an instance is gone is found out once for all of its volumes.
func TestHealthOfADestroyedNode(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		const volumes = 16
		var all []shown
		for i := range volumes {
			all = append(all, shown{id: fmt.Sprintf("00000000-0000-4000-8000-0000000000%02d", i), status: "active", at: goneInstance})
		}
		r.shows(all...)
		before := r.calls()
		resp, err := r.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{})
		want(t, err, codes.OK)
		if n := len(resp.GetEntries()); n != volumes {
			t.Errorf("%d are unwell", n)
		}
		// A list of the volumes, the instance itself, virtual and bare metal, and both lists of servers before and after.
		if calls := r.calls() - before; calls > 7 {
			t.Errorf("it took %d calls", calls)
		}
	})
}
