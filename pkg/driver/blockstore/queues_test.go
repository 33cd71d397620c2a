package blockstore

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestQueueLengths: each instance has its own queue in the metric, as long as there is anything in it.
func TestQueueLengths(t *testing.T) {
	registry, orders := prometheus.NewRegistry(), &inflight.Queue{}
	registry.MustRegister(queues{orders})
	shows := func(want map[string]int) {
		t.Helper()
		text := ""
		if len(want) > 0 {
			text = "# HELP csi_instance_queue_length Attach and detach operations under way or waiting for their turn, by instance. Instances without any are left out.\n" +
				"# TYPE csi_instance_queue_length gauge\n"
		}
		for instance, n := range want {
			text += fmt.Sprintf("csi_instance_queue_length{instance_id=%q} %d\n", instance, n)
		}
		if err := testutil.GatherAndCompare(registry, strings.NewReader(text)); err != nil {
			t.Error(err)
		}
	}
	enter := func(instance string) *inflight.Turn {
		t.Helper()
		turn, err := orders.Enter(t.Context(), instance)
		if err != nil {
			t.Fatal(err)
		}
		return turn
	}
	shows(nil)
	first := enter("one")
	first.Settle()
	second, other := enter("one"), enter("two")
	shows(map[string]int{"one": 2, "two": 1})
	first.Leave()
	other.Leave()
	shows(map[string]int{"one": 1})
	second.Leave()
	shows(nil)
}

// TestRefusedAttachHoldsNobodyUp: to find out why an attach was refused takes calls to the platform and to the cluster, which
// may be slow. Meanwhile others are attached to the instance and detached from it.
func TestRefusedAttachHoldsNobodyUp(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		instance, first, refused := r.instance("node-1"), r.create("pvc-1"), r.create("pvc-2")
		r.mustAttach(first.ID, instance)
		time.Sleep(time.Minute) // of the fake clock
		asked, goOn := make(chan struct{}), make(chan struct{})
		r.opts.LimitReached = func(context.Context, string, int) { close(asked); <-goOn }
		r.cloud.Fault(simulator.Fault{
			Operation: "attach_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Times: 1,
			Body: `{"error":"The instance has the maximum number of volumes","status":400}`,
		})
		done := make(chan error, 1)
		go func() {
			_, err := r.Attach(t.Context(), refused.ID, instance)
			done <- err
		}()
		<-asked
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.Detach(ctx, first.ID, instance); err != nil {
			t.Errorf("the detach: %v", err)
		}
		close(goOn)
		if err := <-done; volume.ReasonOf(err) != volume.Exhausted {
			t.Errorf("the attach: %v", err)
		}
	})
}
