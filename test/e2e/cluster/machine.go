package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/box"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/loop"
)

// Instance is what the simulated cloud says of an instance to its machine.
type Instance struct {
	ID      string
	Label   string
	Address netip.Addr
	// Disks is the directory where the cloud publishes the instance's disks.
	Disks string
}

// cloudDisks is where a worker finds its instance's disks.
const cloudDisks = "/var/lib/simulated-cloud"

// kernelSettings are the sysctls of the whole machine that the kubelet insists on.
var kernelSettings = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// machine is the worker behind an instance.
type machine struct {
	run      *Run
	config   runConfig
	instance Instance
	name     string // of its box, directory and cgroup
	outer    *box.Client
	client   *box.Client
}

func newMachine(r *Run, config runConfig, i Instance) *machine {
	name := fmt.Sprintf("worker-%d", i.Address.As4()[3])
	return &machine{
		run: r, config: config, instance: i, name: name,
		outer: box.NewClient(r.path(outerName)), client: box.NewClient(r.path(name)),
	}
}

// record is where the run remembers the instance's machine.
func record(r *Run, instanceID string) string { return r.path("machines", instanceID+".json") }

// remember saves the instance, so that a later call of the hook finds its machine.
func (m *machine) remember() error {
	content, err := json.Marshal(m.instance)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.run.path("machines"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(record(m.run, m.instance.ID), content, 0o600)
}

// recall finds the machine of an instance; nil when it never had one.
func recall(r *Run, config runConfig, instanceID string) (*machine, error) {
	content, err := os.ReadFile(record(r, instanceID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var i Instance
	if err := json.Unmarshal(content, &i); err != nil {
		return nil, err
	}
	return newMachine(r, config, i), nil
}

// running reports whether the machine's box lives.
func (m *machine) running(ctx context.Context) (bool, error) {
	pid, err := m.pid(ctx)
	return pid != 0, err
}

// pid is that of the box's init in the outer box, 0 if it does not live.
func (m *machine) pid(ctx context.Context) (int, error) {
	programs, err := m.outer.Programs(ctx)
	for _, p := range programs {
		if p.Name == m.name && p.Running {
			return p.PID, err
		}
	}
	return 0, err
}

// start boots the machine, if it is not running, and starts what makes it a node. One that an earlier call did not bring so
// far is booted again.
func (m *machine) start(ctx context.Context) error {
	pid, err := m.pid(ctx)
	if err != nil || pid != 0 && m.isUp(pid) {
		return err
	}
	if err := m.remember(); err != nil {
		return err
	}
	if pid != 0 {
		if err := m.kill(ctx); err != nil {
			return err
		}
	}
	if pid, err = m.boot(ctx); err != nil {
		return err
	}
	if err := m.startNode(ctx); err != nil {
		return err
	}
	return os.WriteFile(m.upFile(), []byte(strconv.Itoa(pid)), 0o600)
}

// upFile has the process ID of the init of which start came to its end.
func (m *machine) upFile() string { return m.run.path("machines", m.instance.ID+".up") }

func (m *machine) isUp(pid int) bool {
	content, err := os.ReadFile(m.upFile())
	return err == nil && string(content) == strconv.Itoa(pid)
}

// boot makes the box and connects it. It returns the process ID of its init in the outer box.
func (m *machine) boot(ctx context.Context) (int, error) {
	if err := cgroup.Create(m.run.cgroup(m.name)); err != nil {
		return 0, err
	}
	dir := m.run.path(m.name)
	for _, sub := range []string{"kubelet", "containerd"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return 0, err
		}
	}
	spec := box.Spec{
		Name: m.instance.Label, Dir: dir, Root: m.config.Artifacts.Root, Cgroup: m.run.cgroup(m.name),
		Binds: []box.Bind{
			{Source: filepath.Join(dir, "kubelet"), Target: "/var/lib/kubelet", Shared: true},
			{Source: filepath.Join(dir, "containerd"), Target: "/var/lib/containerd"},
			{Source: m.config.CacheDir, Target: m.config.CacheDir},
			{Source: m.config.Artifacts.Programs, Target: m.config.Artifacts.Programs},
			{Source: m.run.path("images"), Target: m.run.path("images")},
			{Source: m.instance.Disks, Target: cloudDisks, Follows: true},
		},
		Sysctls: kernelSettings,
	}
	argv, err := spec.Write(m.run.path("bin", "cluster"))
	if err != nil {
		return 0, err
	}
	pid, err := m.outer.Start(ctx, box.Program{
		Name: m.name, Argv: argv, Cloneflags: box.Namespaces, Log: m.run.path("logs", m.name, "init.log"),
	})
	if err != nil {
		return 0, err
	}
	if err := m.waitAgent(ctx); err != nil {
		return 0, err
	}
	return pid, connectWorker(ctx, m.outer, m.client, pid, m.instance.Address)
}

// waitAgent waits until the box answers or has failed.
func (m *machine) waitAgent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if running, err := m.running(ctx); err == nil && !running {
				ended <- errors.New("see " + m.run.path("logs", m.name, "init.log"))
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return m.client.WaitReady(ctx, ended)
}

// kill is the end of the machine: when it returns, no process of it lives, its
// namespaces are gone and nothing holds its disks any more.
func (m *machine) kill(ctx context.Context) error {
	running, err := m.running(ctx)
	if err != nil {
		return err
	}
	if running {
		if err := m.outer.Kill(ctx, m.name); err != nil {
			return err
		}
	}
	// The kernel killed all with the init; this proves it.
	path := m.run.cgroup(m.name)
	if err := cgroup.Kill(ctx, path); err != nil {
		return err
	}
	if err := m.releaseDisks(ctx); err != nil {
		return err
	}
	return cgroup.Remove(ctx, path)
}

// releaseDisks takes off what the machine put on its disks: loop devices of raw
// block volumes outlive the kubelet that made them. Mounts go away by
// themselves, but the kernel may take a moment.
func (m *machine) releaseDisks(ctx context.Context) error {
	devices, err := filepath.Glob(filepath.Join(m.instance.Disks, "devices", "vd*"))
	if err != nil {
		return err
	}
	for _, device := range devices {
		var stat unix.Stat_t
		if err := unix.Stat(device, &stat); err != nil {
			if errors.Is(err, unix.ENOENT) {
				continue // unplugged in this moment
			}
			return fmt.Errorf("%s: %w", device, err)
		}
		onIt := func(all []loop.Device) []loop.Device { return loop.On([]uint64{stat.Rdev}, all) }
		if err := loop.Clear(ctx, onIt); err != nil {
			return err
		}
		if err := waitUnheld(ctx, device); err != nil {
			return err
		}
	}
	return nil
}

// waitUnheld waits until nobody has the device mounted or claimed.
func waitUnheld(ctx context.Context, device string) error {
	for {
		fd, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return unix.Close(fd)
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO):
			return nil
		case !errors.Is(err, unix.EBUSY):
			return fmt.Errorf("%s: %w", device, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is still held: %w", device, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
