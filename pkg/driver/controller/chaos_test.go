package controller_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// chaos drives a controller as the sidecars do, while calls are lost, refused, repeated, late and cut off, and the process
// is killed between any two of them.
type chaos struct {
	*rig
	random *rand.Rand
	log    []string
	nodes  []string
	// id is the volume that was answered, "" if none was.
	id string
}

// TestChaos: what the controller answered is true, and nothing is left in the account that nobody was told of.
func TestChaos(t *testing.T) {
	lives := 90
	if testing.Short() {
		lives = 12
	}
	for seed := range uint64(lives) { //nolint:gosec // a small positive number
		lags := []simulator.ReadLags{
			nil,
			{"blocks.list": 4 * time.Second},
			{"blocks": 4 * time.Second},
			{"blocks": 9 * time.Second},
			{"blocks.get": 9 * time.Second},
			{"blocks.get": 15 * time.Second, "blocks.list": 3 * time.Second},
		}[seed%6]
		inBubble(t, simulator.Config{ReadLags: lags}, func(t *testing.T, r *rig) {
			c := &chaos{rig: r, random: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // repeatable, no secret
			c.nodes = []string{r.instance("node-1"), r.instance("node-2")}
			c.life()
			if t.Failed() {
				t.Logf("seed %d, reads lag %v:", seed, lags)
				for _, line := range c.log {
					t.Log(line)
				}
			}
		})
		if t.Failed() {
			return
		}
	}
}

func (c *chaos) note(format string, args ...any) {
	c.log = append(c.log, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// life is one volume's: created, published here and there, deleted, with calls given up on the way.
func (c *chaos) life() {
	if !c.until("create", 30, c.create) {
		c.t.Errorf("it could not be created")
		return
	}
	for range 1 + c.random.IntN(3) {
		node := c.nodes[c.random.IntN(2)]
		tries := 1 + c.random.IntN(6)
		if c.until("publish", tries, func(ctx context.Context) error {
			_, err := c.ControllerPublishVolume(ctx, publishRequest(c.id, node))
			return err
		}) {
			c.has(node)
		}
		if !c.until("unpublish", 60, func(ctx context.Context) error {
			_, err := c.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: c.id, NodeId: node})
			return err
		}) {
			c.t.Errorf("it could not be unpublished")
		}
		c.free(node)
	}
	if !c.until("delete", 60, func(ctx context.Context) error {
		_, err := c.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: c.id})
		return err
	}) {
		c.t.Errorf("it could not be deleted")
	}
	time.Sleep(5 * time.Minute)
	if left := c.cloud.Sim.View().Blocks; len(left) != 0 {
		c.t.Errorf("left are %+v", left)
	}
}

// has checks that the volume is at the node, or will be in a moment: the platform refuses to attach what is being attached,
// and a look that is old shows it where it is going by chance.
func (c *chaos) has(node string) {
	for _, b := range c.cloud.Sim.View().Blocks {
		attaching := b.AttachedTo == "" && b.Pending == "attach" && b.PendingInstance == node
		if b.ID == c.id && (b.AttachedTo != node || b.Pending != "") && !attaching {
			c.t.Errorf("published to %s, and it is %+v", node, b)
		}
	}
}

// free checks that the volume is not at the node, and will not be.
func (c *chaos) free(node string) {
	for _, b := range c.cloud.Sim.View().Blocks {
		if b.ID == c.id && (b.AttachedTo == node || b.PendingInstance == node) {
			c.t.Errorf("unpublished from %s, and it is %+v", node, b)
		}
	}
}

func (c *chaos) create(ctx context.Context) error {
	resp, err := c.CreateVolume(ctx, createRequest("pvc-1", 10))
	if err != nil {
		return err
	}
	if id := resp.GetVolume().GetVolumeId(); c.id != "" && c.id != id {
		c.t.Errorf("answered %s, then %s", c.id, id)
	} else {
		c.id = id
	}
	return nil
}

// until repeats a call, each time among other faults, until it succeeds and, half of the time, once more.
func (c *chaos) until(what string, tries int, call func(ctx context.Context) error) bool {
	for range tries {
		id := c.fault()
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Duration(c.random.IntN(20000))*time.Millisecond)
		err := call(ctx)
		cancel()
		c.note("%s: %v", what, err)
		if id != "" {
			c.cloud.Sim.RemoveFault(id)
		}
		if err == nil {
			if c.random.IntN(2) == 0 {
				continue
			}
			return true
		}
		if c.random.IntN(3) == 0 {
			c.note("killed")
			c.rig = newRigInBubble(c.t, c.cloud)
		}
		time.Sleep(time.Duration(c.random.IntN(4000)) * time.Millisecond) // of the fake clock
	}
	return false
}

// fault puts one in force, often.
func (c *chaos) fault() string {
	operations := []string{"create_block", "attach_block", "detach_block", "delete_block", "list_blocks", "get_block", "get_instance", ""}
	f := simulator.Fault{Operation: operations[c.random.IntN(len(operations))], Nth: 1 + c.random.IntN(2), Times: 1 + c.random.IntN(3)}
	switch c.random.IntN(11) {
	case 0:
		f.Action = simulator.FaultResetBefore
	case 1:
		f.Action = simulator.FaultResetAfter
	case 2:
		f.Action, f.Status = simulator.FaultStatus, []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusUnauthorized}[c.random.IntN(4)]
	case 3:
		f.Action, f.Status, f.RetryAfter = simulator.FaultStatus, http.StatusTooManyRequests, c.random.IntN(3)
	case 4:
		f.Action, f.Status = simulator.FaultStatusAfter, http.StatusGatewayTimeout
	case 5:
		f.Action = simulator.FaultHangAfter
	case 6:
		f.Action, f.LatencyMS = simulator.FaultLatency, 1+c.random.IntN(8000)
	case 7:
		f.Action = simulator.FaultDuplicate
	default:
		return ""
	}
	id := c.cloud.Fault(f)
	c.note("fault %s %s %d, from %d, %d times", f.Operation, f.Action, f.Status, f.Nth, f.Times)
	return id
}
