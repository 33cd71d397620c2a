package controller_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// sells makes the platform sell by region what is given, in place of its own list.
func (r *rig) sells(options map[string][]string) (fault string) {
	var regions []string
	for id, sold := range options {
		quoted := ""
		if len(sold) > 0 {
			quoted = `"` + strings.Join(sold, `","`) + `"`
		}
		regions = append(regions, `{"id":"`+id+`","options":[`+quoted+`]}`)
	}
	return r.cloud.Fault(simulator.Fault{
		Operation: "list_regions", Action: simulator.FaultStatus, Status: http.StatusOK,
		Body: `{"regions":[` + strings.Join(regions, ",") + `],"meta":{"total":` + string(rune('0'+len(regions))) + `,"links":{"next":"","prev":""}}}`,
	})
}

func capacityRequest(disk, region string) *csi.GetCapacityRequest {
	req := &csi.GetCapacityRequest{Parameters: map[string]string{"storage_type": "block", "disk_type": disk}}
	if region != "" {
		req.AccessibleTopology = &csi.Topology{Segments: topology.Segments(region)}
	}
	return req
}

const soldNVMe, soldHDD = "block_storage_high_perf", "block_storage_storage_opt"

// TestCapacity: it is the largest volume where the type is sold, and nothing elsewhere.
func TestCapacity(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.sells(map[string][]string{"ewr": {soldNVMe, soldHDD}, "lax": {soldNVMe}, "cdg": nil})
		for name, c := range map[string]struct {
			disk, region string
			minGiB, gib  int64
		}{
			"sold":                 {"nvme", "ewr", 10, 10000},
			"in capitals":          {"nvme", "EWR", 10, 10000},
			"the other type":       {"hdd", "ewr", 40, 40000},
			"not this type":        {"hdd", "lax", 0, 0},
			"nothing":              {"nvme", "cdg", 0, 0},
			"an unknown region":    {"nvme", "xxx", 0, 0},
			"anywhere":             {"hdd", "", 40, 40000},
			"by the former values": {"", "ewr", 10, 10000},
		} {
			req := capacityRequest(c.disk, c.region)
			if c.disk == "" {
				req.Parameters = map[string]string{"block_type": "high_perf"}
			}
			resp, err := r.GetCapacity(t.Context(), req)
			want(t, err, codes.OK)
			if resp.GetAvailableCapacity() != c.gib*gib || resp.GetMaximumVolumeSize().GetValue() != c.gib*gib ||
				resp.GetMinimumVolumeSize().GetValue() != c.minGiB*gib || (resp.GetMaximumVolumeSize() == nil) != (c.gib == 0) {
				t.Errorf("%s: got %v", name, resp)
			}
		}
		if lists := r.cloud.Count("list_regions"); lists != 1 {
			t.Errorf("it took %d lists of the regions", lists)
		}
	})
}

// TestCapacityFollowsTheCatalogue: what the platform sells is read again after ten minutes, and an answer that can't be had is none.
func TestCapacityFollowsTheCatalogue(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		catalogue := r.sells(map[string][]string{"ewr": {soldNVMe}})
		capacity := func() int64 {
			resp, err := r.GetCapacity(t.Context(), capacityRequest("nvme", "ewr"))
			want(t, err, codes.OK)
			return resp.GetAvailableCapacity()
		}
		if got := capacity(); got != 10000*gib {
			t.Errorf("got %d", got)
		}
		r.cloud.Sim.RemoveFault(catalogue)
		r.sells(map[string][]string{"ewr": nil, "lax": {soldNVMe}})
		time.Sleep(9 * time.Minute) // of the fake clock, as all sleeps here
		if got := capacity(); got != 10000*gib {
			t.Errorf("after nine minutes got %d", got)
		}
		time.Sleep(2 * time.Minute) // of the fake clock
		if got := capacity(); got != 0 {
			t.Errorf("after eleven minutes got %d", got)
		}
		r.cloud.Sim.ClearFaults()
		r.sells(map[string][]string{"ewr": nil, "lax": {soldHDD}})
		time.Sleep(11 * time.Minute) // of the fake clock
		_, err := r.GetCapacity(t.Context(), capacityRequest("nvme", "ewr"))
		want(t, err, codes.Unavailable, "no region at all", "nvme")
		r.cloud.Sim.ClearFaults()
		r.cloud.Fault(simulator.Fault{Operation: "list_regions", Action: simulator.FaultStatus, Status: http.StatusForbidden, Body: `{"error":"no","status":403}`})
		time.Sleep(11 * time.Minute) // of the fake clock
		_, err = r.GetCapacity(t.Context(), capacityRequest("nvme", "ewr"))
		want(t, err, codes.Unavailable, "regions", "403")
	})
}

// TestCapacityOfRequests: the provisioner sends a class as it is, and what nobody could be given has no capacity.
func TestCapacityOfRequests(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		resp, err := r.GetCapacity(t.Context(), &csi.GetCapacityRequest{})
		want(t, err, codes.OK)
		if resp.GetAvailableCapacity() != 10000*gib {
			t.Errorf("of nothing in particular: got %v", resp)
		}
		asIs := capacityRequest("nvme", "ewr")
		asIs.Parameters["csi.storage.k8s.io/fstype"] = "xfs"
		asIs.Parameters["csi.storage.k8s.io/node-stage-secret-name"] = "luks"
		asIs.VolumeCapabilities = []*csi.VolumeCapability{writer}
		resp, err = r.GetCapacity(t.Context(), asIs)
		want(t, err, codes.OK)
		if resp.GetAvailableCapacity() != 10000*gib {
			t.Errorf("of a class as it is: got %v", resp)
		}
		shared := capacityRequest("nvme", "ewr")
		shared.VolumeCapabilities = []*csi.VolumeCapability{writer, capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)}
		resp, err = r.GetCapacity(t.Context(), shared)
		want(t, err, codes.OK)
		if resp.GetAvailableCapacity() != 0 {
			t.Errorf("of an access that no disk has: got %v", resp)
		}
		for words, spoil := range map[string]func(*csi.GetCapacityRequest){
			`unknown parameter "speed"`:   func(req *csi.GetCapacityRequest) { req.Parameters["speed"] = "high" },
			`"floppy" is not supported`:   func(req *csi.GetCapacityRequest) { req.Parameters["disk_type"] = "floppy" },
			`"csi.storage.k8s.io/fstype"`: func(req *csi.GetCapacityRequest) { req.Parameters["csi.storage.k8s.io/fstype"] = "ntfs" },
			`does not carry the key`:      func(req *csi.GetCapacityRequest) { req.AccessibleTopology.Segments = map[string]string{"zone": "a"} },
			`volume capability 1: its access mode is missing`: func(req *csi.GetCapacityRequest) {
				req.VolumeCapabilities = []*csi.VolumeCapability{{AccessType: &csi.VolumeCapability_Mount{}}}
			},
		} {
			req := capacityRequest("nvme", "ewr")
			spoil(req)
			_, err := r.GetCapacity(t.Context(), req)
			want(t, err, codes.InvalidArgument, words)
		}
	})
}

// TestCapacityOfSharedFileSystems: no largest size is known, which is not the capacity 0.
func TestCapacityOfSharedFileSystems(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		req := capacityRequest("nvme", "ewr")
		req.Parameters["storage_type"] = "vfs"
		resp, err := r.GetCapacity(t.Context(), req)
		want(t, err, codes.OK)
		if resp.GetAvailableCapacity() != volume.Unbounded*gib || resp.GetMaximumVolumeSize() != nil || resp.GetMinimumVolumeSize().GetValue() != 10*gib {
			t.Errorf("where they are sold: got %v", resp)
		}
		req.AccessibleTopology = &csi.Topology{Segments: topology.Segments("xxx")}
		resp, err = r.GetCapacity(t.Context(), req)
		want(t, err, codes.OK)
		if resp.GetAvailableCapacity() != 0 || resp.GetMinimumVolumeSize() != nil {
			t.Errorf("where they are not sold: got %v", resp)
		}
	})
}

// TestWhatIsNotSoldIsRefusedWithTheRegionsThatDo: a create says where the type can be had.
func TestWhatIsNotSoldIsRefusedWithTheRegionsThatDo(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.sells(map[string][]string{"ewr": {soldNVMe}, "lax": {soldHDD}, "cdg": {soldNVMe}})
		req := createRequest("pvc-hdd", 40)
		req.Parameters = map[string]string{"disk_type": "hdd"}
		req.AccessibilityRequirements = in("ewr", "cdg")
		_, err := r.CreateVolume(t.Context(), req)
		want(t, err, codes.ResourceExhausted, "ewr, cdg", "hdd", "regions that do: lax")
	})
}
