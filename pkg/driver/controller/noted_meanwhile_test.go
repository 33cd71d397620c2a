package controller_test

import (
	"context"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// notedClaim is the name of a claim's volume: only such a one can have a note.
const notedClaim = "pvc-0f3c9c0e-9f5c-4b3e-8a53-4a6b1c8f0d11"

// notedRequest asks for a volume of a class whose VolumeAttributesClass has a label.
func notedRequest(storageType string) *csi.CreateVolumeRequest {
	req := createRequest(notedClaim, 10)
	req.Parameters = map[string]string{"storage_type": storageType}
	req.MutableParameters = map[string]string{"label": "team a"}
	return req
}

// inTruth reports whether the account has the volume, in truth.
func (r *rig) inTruth(id string) bool {
	view := r.cloud.Sim.View()
	for _, b := range view.Blocks {
		if b.ID == id {
			return true
		}
	}
	for _, f := range view.FileSystems {
		if f.ID == id {
			return true
		}
	}
	return false
}

// TestNoteOfWhoStoodStill: a process stands still before it has the answer to its create, and another one leads meanwhile: it finds
// the volume, gives it the note that its class asks for, and tells Kubernetes of it. The first one goes on and must not take the note for a
// mistake of the platform: what it takes back is the claim's volume.
func TestNoteOfWhoStoodStill(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.storageType, func(t *testing.T) {
			inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
				other := newRigInBubble(t, r.cloud)
				hold, answer := r.cloud.Hold(k.create, simulator.FaultHoldAfter), make(chan error, 1)
				go func() {
					_, err := r.CreateVolume(t.Context(), notedRequest(k.storageType))
					answer <- err
				}()
				hold.Wait()
				time.Sleep(20 * time.Second) // of the fake clock: as long as a lease lasts
				resp, err := other.CreateVolume(t.Context(), notedRequest(k.storageType))
				want(t, err, codes.OK)
				id := resp.GetVolume().GetVolumeId()
				time.Sleep(5 * time.Second) // of the fake clock: reads show the note
				hold.Release()
				if err := <-answer; err != nil {
					t.Errorf("who stood still answers %v", err)
				}
				time.Sleep(time.Minute) // of the fake clock: a delete that was ordered has been done by then
				if !r.inTruth(id) {
					t.Errorf("volume %s, of which Kubernetes was told, was deleted", id)
				}
			})
		})
	}
}

// TestNoteOfAnotherLeader: nobody stands still here. A create is cut off when its process loses the lead, the next leader finishes it,
// and the first one leads again and is asked once more, because the PersistentVolume was not written yet.
func TestNoteOfAnotherLeader(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.storageType, func(t *testing.T) {
			inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
				other := newRigInBubble(t, r.cloud)
				r.cutOff(func(ctx context.Context) error {
					_, err := r.CreateVolume(ctx, notedRequest(k.storageType))
					return err
				})
				time.Sleep(20 * time.Second) // of the fake clock: as long as a lease lasts
				resp, err := other.CreateVolume(t.Context(), notedRequest(k.storageType))
				want(t, err, codes.OK)
				id := resp.GetVolume().GetVolumeId()
				time.Sleep(20 * time.Second) // of the fake clock: the lead comes back, and reads show the note
				resp, err = r.CreateVolume(t.Context(), notedRequest(k.storageType))
				if err != nil || resp.GetVolume().GetVolumeId() != id {
					t.Errorf("asked again it is %q, %v; it was %s", resp.GetVolume().GetVolumeId(), err, id)
				}
				if !r.inTruth(id) {
					t.Errorf("volume %s, of which Kubernetes was told, was deleted", id)
				}
			})
		})
	}
}
