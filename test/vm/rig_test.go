package vm

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/qemu"
)

const (
	gib = int64(1) << 30
	// callPatience is far more than the kubelet's: an emulated processor takes half a minute to derive a key, and more when
	// the machine does other things as well.
	callPatience = 10 * time.Minute
)

// rig is one volume in a guest: its disk, or what is shared, and the paths at which the kubelet has it.
type rig struct {
	csi.NodeClient
	*box

	t               *testing.T
	id, serial      string
	disk            *qemu.Disk
	share           *qemu.Share // nil unless it is attached
	capability      *csi.VolumeCapability
	staging, target string
	// context is the volume context, and secrets are the secrets of calls. about is the publish context that a controller
	// returned; without one the test makes it.
	context, secrets, about map[string]string
	// readOnly is set for a volume that the controller published read-only.
	readOnly bool
	// lost is set when the guest is no longer asked to take anything away.
	lost bool
	// size is that of the disk, and filled is set when a file was written, where a test needs to know.
	size   int64
	filled bool
}

// newRig makes a volume with a blank disk that is not plugged in. What the test leaves is taken away after it.
func newRig(t *testing.T, capability *csi.VolumeCapability) *rig {
	t.Helper()
	id := uuid.NewString()
	return newRigOf(t, capability, id, serialOf("ewr", id))
}

func newRigOf(t *testing.T, capability *csi.VolumeCapability, id, serial string) *rig {
	t.Helper()
	needGuest(t)
	disk, err := qemu.NewDisk(serial, gib)
	if err != nil {
		t.Fatal(err)
	}
	r := newRigIn(t, &shared.box, capability, id, serial)
	r.disk = disk
	return r
}

// newRigIn is a volume without a disk in a guest.
func newRigIn(t *testing.T, b *box, capability *csi.VolumeCapability, id, serial string) *rig {
	t.Helper()
	const kubelet = "/var/lib/kubelet"
	r := &rig{
		NodeClient: csi.NewNodeClient(b.agent.CSI()), box: b, t: t, id: id, serial: serial, capability: capability,
		staging: kubelet + "/plugins/kubernetes.io/csi/block.csi.vultr.com/" + id + "/globalmount", target: kubelet + "/pods/first/volumes/" + id + "/mount",
	}
	t.Cleanup(r.end)
	return r
}

// serialOf is the serial that the platform gives to the disk of a volume.
func serialOf(region, id string) string {
	return region + "-" + strings.ReplaceAll(id, "-", "")[:14]
}

// end takes away what the test left, and shows what the guest has to say when it failed.
func (r *rig) end() {
	if r.lost {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callPatience)
	defer cancel()
	if r.t.Failed() {
		log, _ := r.agent.Read(ctx, guest.PluginLog) // as far as the guest still answers
		kernel, err := r.agent.Run(ctx, "dmesg")
		r.t.Logf("the plugin's log:\n%s\nthe kernel's (%v):\n%s", tail(string(log)), err, tail(kernel.Output))
	}
	if r.disk != nil && r.disk.Plugged() {
		r.check(r.machine.Heal(ctx, r.disk)) // or what follows may hang
	}
	_, err := r.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: r.id, TargetPath: r.target})
	r.check(err)
	_, err = r.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: r.id, StagingTargetPath: r.staging})
	r.check(err)
	if r.share != nil {
		r.check(r.share.Detach(ctx))
	}
	if r.disk == nil {
		return
	}
	if r.disk.Plugged() {
		r.check(r.machine.Unplug(ctx, r.disk))
	}
	r.check(r.disk.Close())
}

// tail is the end of a log.
func tail(log string) string {
	lines := strings.Split(log, "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

func (r *rig) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Error(err)
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// soon is a context for one call.
func (r *rig) soon() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), callPatience)
	r.t.Cleanup(cancel)
	return ctx
}

func (r *rig) plug() {
	r.t.Helper()
	r.must(r.machine.Plug(r.soon(), r.disk))
}

// unplug returns when the disk is gone from the guest.
func (r *rig) unplug() {
	r.t.Helper()
	r.must(r.machine.Unplug(r.soon(), r.disk))
}

func (r *rig) stage() error { return r.stageWithin(callPatience) }

func (r *rig) stageWithin(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	return r.stageAs(ctx, r.serial)
}

// stageAs stages the volume with the publish context of a disk with the serial.
func (r *rig) stageAs(ctx context.Context, serial string) error {
	_, err := r.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: r.id, PublishContext: r.published(serial), StagingTargetPath: r.staging, VolumeCapability: r.capability,
		VolumeContext: r.context, Secrets: r.secrets,
	})
	return err
}

// published is the publish context.
func (r *rig) published(serial string) map[string]string {
	if r.about != nil {
		return r.about
	}
	about := map[string]string{volume.ContextSerial: serial}
	if r.disk == nil {
		about[volume.ContextStorageType] = string(volume.VFS)
	}
	if r.readOnly {
		about[volume.ContextReadOnly] = "true"
	}
	return about
}

func (r *rig) publish(target string) error {
	_, err := r.NodePublishVolume(r.soon(), &csi.NodePublishVolumeRequest{
		VolumeId: r.id, PublishContext: r.published(r.serial), StagingTargetPath: r.staging, TargetPath: target,
		VolumeCapability: r.capability, VolumeContext: r.context,
	})
	return err
}

func (r *rig) unpublish(target string) error {
	_, err := r.NodeUnpublishVolume(r.soon(), &csi.NodeUnpublishVolumeRequest{VolumeId: r.id, TargetPath: target})
	return err
}

func (r *rig) unstage() error {
	_, err := r.NodeUnstageVolume(r.soon(), &csi.NodeUnstageVolumeRequest{VolumeId: r.id, StagingTargetPath: r.staging})
	return err
}

// total asks for the volume's statistics and returns its size.
func (r *rig) total(path string) (int64, error) {
	resp, err := r.NodeGetVolumeStats(r.soon(), &csi.NodeGetVolumeStatsRequest{VolumeId: r.id, VolumePath: path})
	if err != nil {
		return 0, err
	}
	return resp.GetUsage()[0].GetTotal(), nil
}

func (r *rig) expand(path string, size int64) (int64, error) {
	resp, err := r.NodeExpandVolume(r.soon(), &csi.NodeExpandVolumeRequest{
		VolumeId: r.id, VolumePath: path, CapacityRange: &csi.CapacityRange{RequiredBytes: size}, VolumeCapability: r.capability, Secrets: r.secrets,
	})
	return resp.GetCapacityBytes(), err
}

// write has a pod write a file and flush it.
func (r *rig) write(target, name, text string) {
	r.t.Helper()
	r.must(r.agent.Write(r.soon(), filepath.Join(target, name), []byte(text)))
}

// wantFile checks that a pod reads in a file what another one wrote.
func (r *rig) wantFile(target, name, text string) {
	r.t.Helper()
	got, err := r.agent.Read(r.soon(), filepath.Join(target, name))
	r.must(err)
	if string(got) != text {
		r.t.Errorf("%s has %q, want %q", name, got, text)
	}
}

// run runs a program in the guest, which has to succeed.
func (r *rig) run(args ...string) string {
	r.t.Helper()
	result, err := r.agent.Run(r.soon(), args...)
	r.must(err)
	if result.Code != 0 {
		r.t.Fatalf("%q ended with %d: %s", args, result.Code, result.Output)
	}
	return result.Output
}

// device waits until the guest's kernel has the disk, and returns its node.
func (r *rig) device() string {
	r.t.Helper()
	return r.devices(1)[0]
}

// devices is device for several disks with one serial.
func (r *rig) devices(count int) []string {
	r.t.Helper()
	nodes, err := r.agent.Disks(r.soon(), r.serial, count)
	r.must(err)
	return nodes
}

// mounts counts the mounts of the volume in the guest.
func (r *rig) mounts() int {
	r.t.Helper()
	table, err := r.agent.Read(r.soon(), "/proc/self/mountinfo")
	r.must(err)
	return strings.Count(string(table), r.id)
}

// want checks an error's code, and that its message has the words.
func want(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not mention %q", err, w)
		}
	}
}

// mounted is a volume with a file system, for one node.
func mounted(fsType string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType}},
	}
}

// raw is a volume as a block device.
func raw() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
	}
}

// pod is a process in the guest that has a file open.
type pod struct {
	r      *rig
	handle int
}

func (r *rig) open(target, name string) *pod {
	r.t.Helper()
	handle, err := r.agent.Open(r.soon(), filepath.Join(target, name))
	r.must(err)
	return &pod{r, handle}
}

// write appends to the file and flushes it, and returns what the kernel says.
func (p *pod) write(text string) syscall.Errno {
	p.r.t.Helper()
	errno, err := p.r.agent.WriteOpen(p.r.soon(), p.handle, []byte(text), true)
	p.r.must(err)
	return errno
}

func (p *pod) end() {
	p.r.t.Helper()
	p.r.must(p.r.agent.CloseOpen(p.r.soon(), p.handle))
}
