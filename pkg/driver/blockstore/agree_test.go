package blockstore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestControllersAgree: two controllers create one name at about the same time, each until it answers, while reads lag,
// creates are delivered twice, and answers are lost. Both answer with one volume, and in the end it is the only one.
func TestControllersAgree(t *testing.T) {
	for seed := range uint64(40) {
		lags := []simulator.ReadLags{nil, {"blocks.list": 3 * time.Second}, {"blocks": 20 * time.Second}, {"blocks.get": 20 * time.Second}}[seed%4]
		inBubble(t, lags, func(t *testing.T, r *rig) {
			random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable, no secret
			answers := make(chan string, 2)
			for i, controller := range []*rig{r, r.another()} {
				if action := []simulator.FaultAction{"", simulator.FaultDuplicate, simulator.FaultResetAfter, simulator.FaultResetBefore}[random.IntN(4)]; action != "" {
					r.cloud.Fault(simulator.Fault{Operation: "create_block", Action: action, Times: 1, Nth: 1 + random.IntN(2)})
				}
				begin := time.Duration(random.IntN(4000*(i+1))) * time.Millisecond
				go func() {
					time.Sleep(begin) // of the fake clock
					v, err := controller.repeatCreate(5*time.Minute, specOf("pvc-1"))
					answers <- fmt.Sprint(v.ID, err)
				}()
			}
			one, two := <-answers, <-answers
			time.Sleep(5 * time.Minute)
			if left := r.named("pvc-1"); one != two || !slices.Equal(left, []string{one[:min(36, len(one))]}) {
				t.Errorf("seed %d, reads lag %v: the answers are %s and %s, left are %s", seed, lags, one, two, left)
			}
		})
	}
}
