// Package e2e tests the product on a real Kubernetes over the simulated cloud.
// All tests that need a cluster share one; it is started by the first of them.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/suite"
)

// program is the cluster command, built once.
var program string

// shared is the cluster of this test run.
var shared struct {
	mu      sync.Mutex
	started bool
	c       *cluster.Cluster
	err     error
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "cluster-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "cluster")
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", program, "./cmd/cluster")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // it runs in a root file system without this machine's libraries
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the cluster command: %v\n%s", err, out)
		return 1
	}
	if err := cleanUpOnSignal(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		if shared.c == nil {
			return
		}
		if code != 0 {
			if err := shared.c.SaveLogs(); err != nil {
				fmt.Fprintln(os.Stderr, "save logs:", err)
			}
		}
		if err := shared.c.Down(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "remove the cluster:", err)
			code = 1
		}
	}()
	return m.Run()
}

// world returns the shared cluster.
func world(t *testing.T) *scenario.World {
	t.Helper()
	needRoot(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.started {
		shared.started = true
		shared.c, shared.err = up()
	}
	if shared.err != nil {
		t.Fatal("no cluster:", shared.err)
	}
	return scenario.NewWorld(shared.c)
}

// up starts the shared cluster. What runs in it can see what Kubernetes' own tests need.
func up() (*cluster.Cluster, error) {
	store, err := cache.Open(interrupted, os.Stdout)
	if err != nil {
		return nil, err
	}
	definitions, output := suite.Directories(store.Source)
	if err := os.MkdirAll(output, 0o755); err != nil {
		return nil, err
	}
	return cluster.Up(interrupted, cluster.Options{
		What: "the end-to-end test", Program: program, FaultPoints: true, Shared: []string{definitions, output}, Out: os.Stdout,
	})
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a cluster is made of namespaces, cgroups and loop devices")
	}
}
