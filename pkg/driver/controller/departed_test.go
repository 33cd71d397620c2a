package controller_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// destroy destroys an instance as somebody does in the console.
func (r *rig) destroy(instance string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodDelete, r.cloud.URL+"/v2/instances/"+instance, http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.cloud.Key)
	resp, err := (&http.Transport{DialContext: r.cloud.Dial, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusNoContent {
		r.t.Fatalf("destroying %s: %s, %v", instance, resp.Status, err)
	}
}

// TestDestroyedNodes: a node is destroyed at any point of a volume's life. The volume is free in the end, and can be
// published elsewhere.
func TestDestroyedNodes(t *testing.T) {
	for name, before := range map[string]func(r *rig, id, node string){
		"attached": func(r *rig, id, node string) {
			r.publish(id, node)
			r.destroy(node)
		},
		"attached, a while ago": func(r *rig, id, node string) {
			r.publish(id, node)
			r.destroy(node)
			time.Sleep(time.Minute)
		},
		"being attached": func(r *rig, id, node string) {
			ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
			defer cancel()
			_, err := r.ControllerPublishVolume(ctx, publishRequest(id, node))
			want(r.t, err, codes.DeadlineExceeded)
			r.destroy(node)
		},
		"being detached": func(r *rig, id, node string) {
			r.publish(id, node)
			ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
			defer cancel()
			_, err := r.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: node})
			want(r.t, err, codes.DeadlineExceeded)
			r.destroy(node)
		},
	} {
		for _, restarted := range []bool{false, true} {
			inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
				id, node, other := r.create("pvc-1").GetVolumeId(), r.instance("node-1"), r.instance("node-2")
				before(r, id, node)
				if restarted {
					r = newRigInBubble(t, r.cloud)
				}
				if err := r.patiently(func(ctx context.Context) error {
					_, err := r.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: node})
					return err
				}); err != nil {
					t.Errorf("%s, restarted %t: %v", name, restarted, err)
				}
				if now := r.attachedTo(id); now != "" {
					t.Errorf("%s, restarted %t: it is at %q", name, restarted, now)
				}
				if err := r.patiently(func(ctx context.Context) error {
					_, err := r.ControllerPublishVolume(ctx, publishRequest(id, other))
					return err
				}); err != nil {
					t.Errorf("%s, restarted %t: publish elsewhere: %v", name, restarted, err)
				}
				r.settled(id, other)
			})
		}
	}
}

// TestMovedByAnother: another controller moves a volume while this one is asked about its old place and its new one.
func TestMovedByAnother(t *testing.T) {
	for _, pause := range []time.Duration{0, 300 * time.Millisecond, 900 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, 40 * time.Second} {
		inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
			other := newRigInBubble(t, r.cloud)
			id, one, two := r.create("pvc-1").GetVolumeId(), r.instance("node-1"), r.instance("node-2")
			r.publish(id, one)
			time.Sleep(pause)
			if err := other.unpublish(id, one); err != nil {
				t.Fatal(err)
			}
			other.publish(id, two)
			time.Sleep(pause)
			// A read may lag behind its own attach, so for a while it does not believe one that shows the volume elsewhere.
			want(t, r.patiently(func(context.Context) error { return r.unpublish(id, one) }), codes.OK)
			r.settled(id, two)
			_, err := r.ControllerPublishVolume(t.Context(), publishRequest(id, one))
			want(t, err, codes.FailedPrecondition, two)
			_, err = r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
			want(t, err, codes.FailedPrecondition, two)
			r.publish(id, two)
			r.settled(id, two)
			want(t, r.unpublish(id, two), codes.OK)
			r.settled(id, "")
		})
	}
}
