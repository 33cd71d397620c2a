package simtest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// write sends a request that must succeed without an answer.
func write(t *testing.T, c *simtest.Cloud, method, path, body string) {
	t.Helper()
	if status, answer := do(t, c, method, path, body); status != http.StatusNoContent {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
}

// A real device grows under the guest, after a time or with the next attach.
func TestRealGrowth(t *testing.T) {
	for name, reattach := range map[string]bool{"after a time": false, "with the next attach": true} {
		t.Run(name, func(t *testing.T) {
			c := simtest.Start(t, simtest.Options{Disks: true, Config: simulator.Config{GrowOnReattach: reattach}})
			instance := c.AddInstance(simulator.NewServer{Label: "worker"})
			if status, body := do(t, c, "POST", "/v2/blocks", `{"region":"ewr","size_gb":10}`); status != http.StatusAccepted {
				t.Fatalf("%d %s", status, body)
			}
			settled := func() bool { return len(c.Sim.View().Transitions) == 0 }
			eventually(t, "active", settled)
			block := "/v2/blocks/" + c.Sim.View().Blocks[0].ID
			attach := func() {
				t.Helper()
				write(t, c, "POST", block+"/attach", `{"live":true,"instance_id":"`+instance+`"}`)
				eventually(t, "attached", settled)
			}
			size := func() string {
				text, err := os.ReadFile(filepath.Join(c.DisksDir, "instances", instance, "block", "vdb", "size"))
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSpace(string(text))
			}
			const small, large = "20971520", "41943040" // sectors of 10 and 20 GB
			attach()
			write(t, c, "PATCH", block, `{"size_gb":20}`)
			eventually(t, "grown", settled)
			if reattach {
				if size() != small {
					t.Errorf("the guest sees %s sectors before the next attach", size())
				}
				write(t, c, "POST", block+"/detach", `{"live":true}`)
				eventually(t, "detached", settled)
				attach()
			}
			if size() != large {
				t.Errorf("the guest sees %s sectors in the end", size())
			}
		})
	}
}
