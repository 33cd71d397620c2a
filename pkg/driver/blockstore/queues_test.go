package blockstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
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
			text += fmt.Sprintf("csi_instance_queue_length{instance=%q} %d\n", instance, n)
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
