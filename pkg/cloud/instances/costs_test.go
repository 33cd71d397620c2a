package instances_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// A thousand Nodes cost the pages of one list each time that their addresses are compared, and nothing else.
func TestThousandQuietNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSceneWith(t, simtest.Options{Bubble: true, Config: simulator.Config{ReadLags: simulator.NoReadLag()}})
		const all, pages, rounds = 1000, 3 + 1, 3 // with the node of the scene there are more than two pages of 500, and one of bare metal
		var nodes []*v1.Node
		for i := range all {
			name := fmt.Sprintf("n%d", i)
			nodes = append(nodes, s.node(name, providerid.Format(s.cloud.AddInstance(simulator.NewServer{Label: name}))))
		}
		for range rounds {
			for _, n := range nodes {
				if _, err := s.instances.InstanceMetadata(t.Context(), n); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(5 * time.Minute) // of the fake clock: how often the library compares
		}
		if n := len(s.cloud.Requests()); n > pages*rounds {
			t.Errorf("%d requests in %d rounds", n, rounds)
		}
	})
}

// A destroyed bare metal server is told from one that is switched off, without any mark on its Node, and is proven gone like a
// virtual machine.
func TestBareMetalDestroyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSceneWith(t, simtest.Options{Bubble: true, Config: simulator.Config{ReadLags: simulator.NoReadLag()}})
		id := s.cloud.AddBareMetal(simulator.NewServer{Label: "metal"})
		off := s.node("off", providerid.Format(s.cloud.AddBareMetal(simulator.NewServer{Label: "off", Stopped: true})))
		metal := s.node("metal", providerid.Format(id))
		if exists, err := s.instances.InstanceExists(t.Context(), metal); err != nil || !exists {
			t.Fatalf("running: %v, %v", exists, err)
		}
		if err := s.cloud.Sim.RemoveBareMetal(id); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for exists := true; exists; time.Sleep(time.Second) { // of the fake clock
			var err error
			if exists, err = s.instances.InstanceExists(t.Context(), metal); err != nil {
				t.Fatal(err)
			}
			if there, err := s.instances.InstanceExists(t.Context(), off); err != nil || !there {
				t.Fatalf("switched off: %v, %v", there, err)
			}
			if time.Since(began) > time.Minute {
				t.Fatal("never gone")
			}
		}
		if took := time.Since(began); took < 20*time.Second {
			t.Errorf("gone after %s", took)
		}
		if stopped, err := s.instances.InstanceShutdown(t.Context(), off); err != nil || !stopped {
			t.Errorf("switched off: %v, %v", stopped, err)
		}
		if stopped, err := s.instances.InstanceShutdown(t.Context(), metal); err != nil || stopped {
			t.Errorf("gone is not stopped: %v, %v", stopped, err)
		}
	})
}
