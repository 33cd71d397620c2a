package health

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestToCSI: each severity has its type, and no two entries have one type and one reason.
func TestToCSI(t *testing.T) {
	if h := ToCSI("v", nil); h.GetVolumeId() != "v" || len(h.GetHealthStatuses()) != 0 {
		t.Errorf("a volume that is well: %v", h)
	}
	h := ToCSI("v", []volume.Condition{
		{Severity: volume.Degraded, Reason: "A", Message: "one"},
		{Severity: volume.Inaccessible, Reason: "A", Message: "two"},
		{Severity: volume.Degraded, Reason: "A", Message: "three"},
		{Severity: volume.Degraded, Reason: "B"},
	})
	want := []csi.VolumeHealth_VolumeHealthEntry{
		{Status: csi.VolumeHealthErrorType_DEGRADED, Reason: "A", Message: "one"},
		{Status: csi.VolumeHealthErrorType_INACCESSIBLE, Reason: "A", Message: "two"},
		{Status: csi.VolumeHealthErrorType_DEGRADED, Reason: "B"},
	}
	if len(h.GetHealthStatuses()) != len(want) {
		t.Fatalf("got %v", h)
	}
	for i, e := range h.GetHealthStatuses() {
		if e.GetStatus() != want[i].GetStatus() || e.GetReason() != want[i].GetReason() || e.GetMessage() != want[i].GetMessage() {
			t.Errorf("entry %d is %v", i, e)
		}
	}
}
