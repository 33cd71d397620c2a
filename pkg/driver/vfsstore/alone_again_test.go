package vfsstore

import (
	"context"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestAloneAfterACutOff: a publish for one node alone is cut off while it waits, and repeated. That the order was given by the call
// before is no reason not to look, when it is done, whether another process attached the file system elsewhere meanwhile.
func TestAloneAfterACutOff(t *testing.T) {
	for what, cutOff := range map[string]bool{"in one call": false, "in two calls": true} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, simulator.ReadLags{"vfs": 20 * time.Second}, func(t *testing.T, r *rig) {
				ctx, a, b := t.Context(), r.instance("a"), r.instance("b")
				id := r.create("pvc-1")
				time.Sleep(time.Minute) // of the fake clock: all reads show the file system
				other := r.another()
				elsewhere := make(chan error, 1)
				go func() {
					_, err := other.AttachAlone(ctx, id, b)
					elsewhere <- err
				}()
				time.Sleep(12 * time.Second) // of the fake clock: b has it in truth, and no read shows that
				if cutOff {
					short, cancel := context.WithTimeout(ctx, 2*time.Second)
					_, err := r.AttachAlone(short, id, a)
					cancel()
					if err == nil {
						t.Fatal("it was over too early for this test")
					}
					time.Sleep(time.Second) // of the fake clock: the pause of the sidecar before it repeats
				}
				_, here := r.AttachAlone(ctx, id, a)
				if err := <-elsewhere; err == nil && here == nil {
					f, _ := r.view(id)
					t.Errorf("both were told that they have it for themselves; in truth %+v", f.Attachments)
				} else {
					t.Logf("at a: %v; at b: %v", here, err)
				}
			})
		})
	}
}
