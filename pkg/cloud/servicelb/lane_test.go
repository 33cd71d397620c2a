package servicelb_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// Load balancers whose changes are never answered must not keep the others from losing a dead node: not when they are
// found out, and hardly after that.
func TestChangesThatHangHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var good []string
		for i := range 24 {
			lb := w.settled(w.service(fmt.Sprintf("s%02d", i)))
			if i < 8 {
				w.cloud.Fault(simulator.Fault{Method: "PATCH", Path: "/load-balancers/" + lb.ID, Action: simulator.FaultHang})
			} else {
				good = append(good, lb.ID)
			}
		}
		w.later(10 * time.Minute)
		follow := func(backends int) time.Duration {
			began := time.Now()
			w.eventually("the others follow the nodes", func() bool {
				for _, id := range good {
					if len(w.truth(id).Instances) != backends {
						return false
					}
				}
				return true
			})
			return time.Since(began)
		}
		w.editNode("node-1", ready(false))
		if took := follow(1); took > time.Minute {
			t.Errorf("the others lose a dead node after %s", took)
		}
		w.later(5 * time.Minute)
		w.editNode("node-1", ready(true))
		follow(2)
		w.later(5 * time.Minute)
		w.editNode("node-1", ready(false))
		if took := follow(1); took > 10*time.Second {
			t.Errorf("the others lose a dead node after %s though it is known which ones hang", took)
		}
	})
}
