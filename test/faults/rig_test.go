package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/csiprocess"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/syscut"
)

const (
	region = "ewr"
	gib    = 1 << 30
	// scale is how long the platform's second is: an attach takes 400 ms. With a smaller one the driver's patience would be
	// less than what a busy machine can take from a process.
	scale = 0.1
	// reserve is how many times longer than the platform's contract a driver waits for what is done late, or without an answer: a
	// busy machine has taken seconds for what the platform does in 400 ms.
	reserve = 4
	// patience bounds every wait.
	patience = time.Minute
)

// rig is a cloud with two machines. It outlives the processes of the driver, as disks and machines do.
type rig struct {
	cloud *simtest.Cloud
	hosts [2]*host
	// dir is short: the names of sockets have to be.
	dir   string
	made  int // sockets
	lives int // volumes
}

// host is what a machine keeps when the node plugin ends.
type host struct {
	instance string
	// disks is where the machine sees its disks, kubelet the kubelet's directory, state that of the driver's records.
	disks, kubelet, state, metadata string
}

func newRig(t *testing.T, config simulator.Config) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "f") //nolint:usetesting // that of the test has a long name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a temporary directory
	config.TimeScale = scale
	r := &rig{dir: dir, cloud: simtest.Start(t, simtest.Options{Disks: true, FileSystems: true, Config: config})}
	for i := range r.hosts {
		r.hosts[i] = r.newHost(t, fmt.Sprintf("worker-%d", i+1))
	}
	t.Cleanup(func() { r.unmountAll(t) })
	return r
}

func (r *rig) newHost(t *testing.T, name string) *host {
	t.Helper()
	h := &host{
		instance: r.cloud.AddInstance(simulator.NewServer{Label: name, Region: region}),
		kubelet:  filepath.Join(r.dir, name), state: filepath.Join(r.dir, name+"-state"),
	}
	h.disks, h.metadata = filepath.Join(r.cloud.DisksDir, "instances", h.instance), r.cloud.MetadataURL(h.instance)
	for _, d := range []string{filepath.Join(h.kubelet, "pods"), filepath.Join(h.kubelet, "staging"), filepath.Join(h.disks, "devices"), filepath.Join(h.disks, "block"), filepath.Join(h.disks, "vfs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// unmountAll takes away what a failed test left mounted, so that the disks can go.
func (r *rig) unmountAll(t *testing.T) {
	t.Helper()
	for _, h := range r.hosts {
		for _, e := range mountsBelow(t, h.kubelet) {
			_ = unix.Unmount(e.Path, unix.MNT_DETACH) // it is gone already, or is seen by the cloud's own clean-up
		}
	}
}

// mountsBelow lists what is mounted below a directory, the uppermost first.
func mountsBelow(t testing.TB, dir string) mount.Table {
	t.Helper()
	table, err := mount.Read()
	if err != nil {
		t.Error(err)
	}
	var below mount.Table
	for _, e := range table {
		if strings.HasPrefix(e.Path, dir+"/") {
			below = append(mount.Table{e}, below...)
		}
	}
	return below
}

// gogc is in the environment of the driver.
var gogc = fmt.Sprintf("GOGC=%d", garbage)

// controller is a controller process.
type controller struct {
	csi.ControllerClient

	process *csiprocess.Process
}

func (r *rig) socket(name string) string {
	r.made++
	return filepath.Join(r.dir, fmt.Sprintf("%s%d.sock", name, r.made))
}

// startController starts one that takes the platform's second for as long as scale says.
func (r *rig) startController(t *testing.T, scale float64) *controller {
	t.Helper()
	d := csiprocess.Driver{Binary: driverBinary, Socket: r.socket("c"), Env: []string{"VULTR_API_KEY=" + r.cloud.Key, gogc}, Args: []string{
		"--mode=controller", "--api-key-file=/nonexistent", "--api-url=" + r.cloud.URL, "--region=" + region, fmt.Sprintf("--platform-time-scale=%g", scale),
	}}
	p := csiprocess.Start(t, d)
	return &controller{ControllerClient: csi.NewControllerClient(csiprocess.Dial(t, d.Socket)), process: p}
}

// nodePlugin is a node process, whose system calls are watched.
type nodePlugin struct {
	csi.NodeClient

	process *csiprocess.Process
	tracer  *syscut.Tracer
}

func (r *rig) startNode(t *testing.T, h *host) *nodePlugin {
	t.Helper()
	n := &nodePlugin{}
	d := csiprocess.Driver{
		Binary: driverBinary, Socket: r.socket("n"), Env: []string{gogc}, Args: []string{
			"--mode=node", "--metadata-url=" + h.metadata, "--device-dir=" + filepath.Join(h.disks, "devices"),
			"--sysfs-block-dir=" + filepath.Join(h.disks, "block"), "--vfs-dir=" + filepath.Join(h.disks, "vfs"), "--state-dir=" + h.state,
			"--plugin-registration-dir=", "--kubelet-root=" + h.kubelet,
		},
		Launch: func(cmd *exec.Cmd) (err error) {
			n.tracer, err = syscut.Start(cmd, ".log")
			return err
		},
	}
	n.process = csiprocess.Start(t, d)
	n.NodeClient = csi.NewNodeClient(csiprocess.Dial(t, d.Socket))
	return n
}

// await waits until the cloud is as wished, and fails the test if that does not come about.
func (p *point) await(what string, is func(simulator.View) bool) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	for {
		changed := p.cloud.Sim.Changed()
		if is(p.cloud.Sim.View()) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.Fatalf("%s did not come about: %+v", what, storage(p.cloud.Sim.View()))
		}
	}
}

// storage is the part of the view that tells why.
func storage(v simulator.View) []any {
	return []any{v.Blocks, v.FileSystems, v.Snapshots, v.Transitions}
}
