package simtest_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

func TestMain(m *testing.M) { testns.Main(m) }

func do(t *testing.T, c *simtest.Cloud, method, path, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// Two instances share a file system that is really there.
func TestRealFileSystem(t *testing.T) {
	c := simtest.Start(t, simtest.Options{FileSystems: true})
	status, body := do(t, c, "POST", "/v2/vfs", `{"region":"ewr","label":"v","storage_size":{"gb":10}}`)
	if status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	eventually(t, "active", func() bool { return c.Sim.View().FileSystems[0].Active })
	vfs := "/v2/vfs/" + c.Sim.View().FileSystems[0].ID
	instances := []string{c.AddInstance(simulator.NewServer{Label: "a"}), c.AddInstance(simulator.NewServer{Label: "b"})}
	for _, instance := range instances {
		if status, body := do(t, c, "PUT", vfs+"/attachments/"+instance, ""); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
	attached := func() (paths []string) {
		for _, a := range c.Sim.View().FileSystems[0].Attachments {
			if a.State == "ATTACHED" {
				paths = append(paths, filepath.Join(c.DisksDir, "instances", a.Instance, "vfs", strconv.Itoa(a.MountTag)))
			}
		}
		return paths
	}
	eventually(t, "attached", func() bool { return len(attached()) == 2 })
	paths := attached()
	if err := os.WriteFile(filepath.Join(paths[0], "greeting"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(paths[1], "greeting")); err != nil || info.Size() != 1<<20 {
		t.Errorf("the other instance sees %v, %v", info, err)
	}
	var shown struct {
		Used struct{ Bytes int } `json:"storage_used"`
	}
	eventually(t, "used", func() bool {
		_, body := do(t, c, "GET", vfs, "")
		return json.Unmarshal([]byte(body), &shown) == nil && shown.Used.Bytes >= 1<<20
	})
	if status, body := do(t, c, "DELETE", "/v2/instances/"+instances[0], ""); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, body)
	}
	eventually(t, "detached", func() bool { return len(c.Sim.View().FileSystems[0].Attachments) == 1 })
	if _, err := os.Stat(paths[0]); !os.IsNotExist(err) {
		t.Errorf("the destroyed instance still sees it: %v", err)
	}
}

// A volume's life on real loop devices, with an instance's view of it.
func TestRealDisk(t *testing.T) {
	c := simtest.Start(t, simtest.Options{Disks: true})
	instance := c.AddInstance(simulator.NewServer{Label: "worker"})
	status, body := do(t, c, "POST", "/v2/blocks", `{"region":"ewr","size_gb":10}`)
	if status != http.StatusAccepted {
		t.Fatalf("%d %s", status, body)
	}
	var created struct {
		Block struct {
			ID      string `json:"id"`
			MountID string `json:"mount_id"`
		} `json:"block"`
	}
	if err := json.Unmarshal([]byte(body), &created); err != nil {
		t.Fatal(err)
	}
	block := created.Block
	eventually(t, "active", func() bool { return c.Sim.View().Blocks[0].Active })
	if status, body := do(t, c, "POST", "/v2/blocks/"+block.ID+"/attach", `{"live":true,"instance_id":"`+instance+`"}`); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, body)
	}
	eventually(t, "attached", func() bool { return c.Sim.View().Blocks[0].AttachedTo == instance })
	dir := filepath.Join(c.DisksDir, "instances", instance)
	serials, err := filepath.Glob(filepath.Join(dir, "block", "*", "serial"))
	if err != nil || len(serials) != 1 {
		t.Fatalf("serials %v, error %v", serials, err)
	}
	raw, err := os.ReadFile(serials[0])
	if err != nil || strings.TrimSpace(string(raw)) != block.MountID {
		t.Errorf("serial %q, error %v, want %s", raw, err, block.MountID)
	}
	if _, err := os.Stat(filepath.Join(dir, "devices", "disk", "by-id", "virtio-"+block.MountID)); err != nil {
		t.Error(err)
	}
	if status, body := do(t, c, "DELETE", "/v2/instances/"+instance, ""); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, body)
	}
	eventually(t, "detached", func() bool { return c.Sim.View().Blocks[0].AttachedTo == "" })
	if left, err := filepath.Glob(filepath.Join(dir, "block", "*")); err != nil || len(left) != 0 {
		t.Errorf("the destroyed instance still has %v (%v)", left, err)
	}
	if n := c.Count("attach_block"); n != 1 {
		t.Errorf("%d attaches are counted", n)
	}
}

func TestMetadata(t *testing.T) {
	c := simtest.Start(t, simtest.Options{})
	instance := c.AddInstance(simulator.NewServer{Label: "worker", Region: "ams"})
	for url, want := range map[string]int{c.MetadataURL(instance): 200, c.MetadataURL("nobody"): 404} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1.json", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%d %s, want %d", resp.StatusCode, raw, want)
		}
		if want == 200 && (!strings.Contains(string(raw), instance) || !strings.Contains(string(raw), `"AMS"`)) {
			t.Errorf("document %s", raw)
		}
	}
}

func TestHold(t *testing.T) {
	c := simtest.Start(t, simtest.Options{})
	h := c.Hold("list_blocks", simulator.FaultHoldBefore)
	ended := make(chan int)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL+"/v2/blocks", nil)
		if err != nil {
			ended <- 0
			return
		}
		resp, err := c.Client().Do(req)
		if err != nil {
			ended <- 0
			return
		}
		_ = resp.Body.Close()
		ended <- resp.StatusCode
	}()
	h.Wait()
	if n := len(c.Requests()); n != 0 {
		t.Errorf("%d requests ended while held", n)
	}
	h.Release()
	if status := <-ended; status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("not %s after a minute", what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks; only what is waited for ends the wait
	}
}

// TestAwaitReads: what was written is read when reads have caught up, and a wait looks again at that moment.
func TestAwaitReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := simtest.Start(t, simtest.Options{Bubble: true})
		client := &http.Client{Transport: &http.Transport{DialContext: c.Dial, DisableKeepAlives: true}}
		ask := func(method, path, body string) (int, string) {
			req, err := http.NewRequestWithContext(t.Context(), method, c.URL+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+c.Key)
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(resp.Body)
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(raw)
		}
		wrote := time.Now()
		status, body := ask("POST", "/v2/vpcs", `{"region":"ewr"}`)
		if status != http.StatusCreated {
			t.Fatalf("%d %s", status, body)
		}
		vpc := "/v2/vpcs/" + c.Sim.View().VPCs[0].ID
		if status, _ := ask("GET", vpc, ""); status != http.StatusNotFound {
			t.Errorf("a read at once: %d", status)
		}
		c.Await("the new VPC to come in sight", func() bool { return time.Since(wrote) >= simulator.DefaultReadLag })
		if took := time.Since(wrote); took != simulator.DefaultReadLag {
			t.Errorf("it was waited for %s", took)
		}
		if status, _ := ask("GET", vpc, ""); status != http.StatusOK {
			t.Errorf("a second later: %d", status)
		}
		if status, _ := ask("DELETE", vpc, ""); status != http.StatusNoContent {
			t.Errorf("delete: %d", status)
		}
		if status, _ := ask("GET", vpc, ""); status != http.StatusOK {
			t.Errorf("a read right after the delete: %d", status)
		}
		c.AwaitReads()
		if status, _ := ask("GET", vpc, ""); status != http.StatusNotFound {
			t.Errorf("after the reads have caught up: %d", status)
		}
	})
}
