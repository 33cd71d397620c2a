package cluster

import (
	"bytes"
	"fmt"
	"os"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
)

// Process is one process of the machine, told apart from a later one with the same number.
type Process struct {
	PID     int
	Started string // the kernel's clock tick of its start
	Name    string
}

// Processes lists the living processes of an instance's machine, containers included.
func (c *Cluster) Processes(instanceID string) ([]Process, error) {
	m, err := recall(c.run, c.config, instanceID)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fmt.Errorf("the instance %s never had a machine", instanceID)
	}
	pids, err := cgroup.Processes(c.run.cgroup(m.name))
	var all []Process
	for _, pid := range pids {
		if p, lives := process(pid); lives {
			all = append(all, p)
		}
	}
	return all, err
}

// Lives reports whether that very process still runs.
func (p Process) Lives() bool {
	now, lives := process(p.PID)
	return lives && now.Started == p.Started
}

func process(pid int) (Process, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, false
	}
	// The name is in parentheses and may hold anything; the state and 18 more fields stand before the start.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[end+1:])
	const state, started = 0, 19
	if open < 0 || len(fields) <= started || bytes.Equal(fields[state], []byte("Z")) {
		return Process{}, false
	}
	return Process{PID: pid, Started: string(fields[started]), Name: string(stat[open+1 : end])}, true
}
