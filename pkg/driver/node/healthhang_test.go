package node

import (
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// hanging is a kind of storage that does not answer until it is released.
type hanging struct {
	Stager

	asked chan struct{}
	letGo chan struct{}
}

func (h *hanging) Examine(string, ...string) ([]volume.Condition, error) {
	h.asked <- struct{}{}
	<-h.letGo
	return nil, nil
}

// TestHealthCannotHang: a volume that does not answer is said to do so, and is asked once.
func TestHealthCannotHang(t *testing.T) {
	records, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &hanging{asked: make(chan struct{}, 10), letGo: make(chan struct{})}
	s := &Service{cfg: Config{State: records, Patience: 20 * time.Millisecond}, stagers: map[volume.Kind]Stager{volume.Block: h}}
	req := &csi.NodeGetVolumeHealthRequest{VolumeId: "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"}
	for range 3 {
		resp, err := s.NodeGetVolumeHealth(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		got := resp.GetVolumeHealth().GetHealthStatuses()
		if len(got) != 1 || got[0].GetStatus() != csi.VolumeHealthErrorType_INACCESSIBLE || got[0].GetReason() != "NotAnswering" {
			t.Errorf("got %v", got)
		}
	}
	if asked := len(h.asked); asked != 1 {
		t.Errorf("it was asked %d times at once", asked)
	}
	close(h.letGo)
	for answered := false; !answered; {
		resp, err := s.NodeGetVolumeHealth(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		answered = len(resp.GetVolumeHealth().GetHealthStatuses()) == 0
		select {
		case <-h.asked:
		default:
		}
	}
}
