package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
)

// Fault is a rule by which the simulated API goes wrong.
type Fault struct {
	ID        string `json:"id,omitempty"`
	Operation string `json:"operation,omitempty"`
	Path      string `json:"path,omitempty"`
	Times     int    `json:"times,omitempty"`
	Action    string `json:"action"`
	Status    int    `json:"status,omitempty"`
	Body      string `json:"body,omitempty"`
	Held      int    `json:"held,omitempty"`
	Hit       int    `json:"hit,omitempty"`
}

// AddFault puts a fault in force and returns its ID.
func (c *Cluster) AddFault(ctx context.Context, f Fault) (string, error) {
	var added Fault
	err := c.Admin.Do(ctx, http.MethodPost, "/faults", f, &added)
	return added.ID, err
}

// WaitHeld waits until the fault holds a request.
func (c *Cluster) WaitHeld(ctx context.Context, id string) error {
	return c.Eventually(ctx, "the simulated API holds a request", 2*time.Minute, func(ctx context.Context) error {
		var f Fault
		if err := c.Admin.Get(ctx, "/faults/"+id, &f); err != nil {
			return err
		}
		if f.Held == 0 {
			return errors.New("no request came")
		}
		return nil
	})
}

// Held is how many requests the fault holds now.
func (c *Cluster) Held(ctx context.Context, id string) (int, error) {
	var f Fault
	err := c.Admin.Get(ctx, "/faults/"+id, &f)
	return f.Held, err
}

// ReleaseHeld releases the requests that the fault holds now. It holds later ones.
func (c *Cluster) ReleaseHeld(ctx context.Context, id string) error {
	return c.Admin.Do(ctx, http.MethodPost, "/faults/"+id+"/release", nil, nil)
}

// EndFaults ends all faults and releases what they hold.
func (c *Cluster) EndFaults(ctx context.Context) error {
	return c.Admin.Do(ctx, http.MethodDelete, "/faults", nil, nil)
}

// KillCloud ends the simulated cloud with SIGKILL; its state stays.
func (c *Cluster) KillCloud(ctx context.Context) error { return c.outer.Kill(ctx, "simulator") }

// EnsureCloud starts the simulated cloud again, on the state that it left, unless it runs.
func (c *Cluster) EnsureCloud(ctx context.Context) error {
	programs, err := c.outer.Programs(ctx)
	if err != nil {
		return err
	}
	for _, p := range programs {
		if p.Name == "simulator" && p.Running {
			return nil
		}
	}
	return c.startSimulator(ctx)
}

// KillInPod sends SIGKILL to the pod's processes whose command line has that
// argument, and tells how many there were.
func (c *Cluster) KillInPod(pod *corev1.Pod, argument string) (int, error) {
	pids, err := cgroup.Processes(c.run.cgroup())
	if err != nil {
		return 0, err
	}
	killed := 0
	for _, pid := range pids {
		groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil || !strings.Contains(string(groups), "pod"+string(pod.UID)) {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !bytes.Contains(append([]byte{0}, line...), []byte("\x00"+argument+"\x00")) {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return killed, err
		}
		killed++
	}
	return killed, nil
}

// faultPoints is where the node service, built with fault points, looks for stop files.
const faultPoints = "kubelet/plugins/block.csi.vultr.com/state/faultpoints"

// StopAt makes every worker's node service stop before a step.
func (c *Cluster) StopAt(ctx context.Context, step string) error {
	return c.eachWorker(ctx, func(m *machine) error {
		dir := m.run.path(m.name, faultPoints)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.WriteFile(dir+"/"+step+".stop", nil, 0o600)
	})
}

// Stopped tells which instances' node services stand before a step.
func (c *Cluster) Stopped(ctx context.Context, step string) ([]string, error) {
	var stopped []string
	err := c.eachWorker(ctx, func(m *machine) error {
		_, err := os.Stat(m.run.path(m.name, faultPoints, step+".reached"))
		if err == nil {
			stopped = append(stopped, m.instance.Label)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return stopped, err
}

// GoOn lets the node services pass every step again.
func (c *Cluster) GoOn(ctx context.Context) error {
	return c.eachWorker(ctx, func(m *machine) error {
		for _, suffix := range []string{".stop", ".reached"} {
			files, err := filepath.Glob(m.run.path(m.name, faultPoints, "*"+suffix))
			if err != nil {
				return err
			}
			for _, file := range files {
				if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
		return nil
	})
}

func (c *Cluster) eachWorker(ctx context.Context, do func(*machine) error) error {
	instances, err := c.Instances(ctx)
	if err != nil {
		return err
	}
	for _, i := range instances {
		m, err := recall(c.run, c.config, i.ID)
		if err != nil {
			return err
		}
		if m == nil {
			continue // not booted yet
		}
		if err := do(m); err != nil {
			return err
		}
	}
	return nil
}
