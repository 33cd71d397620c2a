package simtest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// Of an instance that is destroyed no directory and no mount is left, while the cloud goes on.
func TestNothingIsLeftOfAnInstance(t *testing.T) {
	c := simtest.Start(t, simtest.Options{Disks: true, FileSystems: true})
	settled := func() bool { return len(c.Sim.View().Transitions) == 0 }
	for path, body := range map[string]string{
		"/v2/blocks": `{"region":"ewr","size_gb":10}`,
		"/v2/vfs":    `{"region":"ewr","label":"v","storage_size":{"gb":10}}`,
	} {
		if status, answer := do(t, c, "POST", path, body); status >= http.StatusBadRequest {
			t.Fatalf("%d %s", status, answer)
		}
	}
	eventually(t, "made", settled)
	instance := c.AddInstance(simulator.NewServer{Label: "worker"})
	view := c.Sim.View()
	write(t, c, "POST", "/v2/blocks/"+view.Blocks[0].ID+"/attach", `{"live":true,"instance_id":"`+instance+`"}`)
	if status, answer := do(t, c, "PUT", "/v2/vfs/"+view.FileSystems[0].ID+"/attachments/"+instance, ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	eventually(t, "attached", settled)
	dir := filepath.Join(c.DisksDir, "instances", instance)
	if _, err := os.Stat(filepath.Join(dir, "block", "vdb", "serial")); err != nil {
		t.Fatal(err)
	}
	write(t, c, "DELETE", "/v2/instances/"+instance, "")
	eventually(t, "gone", settled)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory of a destroyed instance: %v", err)
	}
}
