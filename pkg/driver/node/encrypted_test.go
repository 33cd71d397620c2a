package node_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcrypt"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const (
	firstKey  = "first-CANARY"
	secondKey = "second-CANARY"
	thirdKey  = "third-CANARY"
)

// encryptedRig is a rig whose volume is encrypted.
type encryptedRig struct {
	*rig
	program                     testcrypt.Program
	capability                  *csi.VolumeCapability
	context, published, secrets map[string]string
}

func newEncryptedRig(t *testing.T, capability *csi.VolumeCapability) *encryptedRig {
	t.Helper()
	r := &encryptedRig{rig: newRig(t), capability: capability, published: publishContext}
	r.program = testcrypt.Install(t, r.machine)
	t.Cleanup(r.unmountAll) // before what is open is closed
	r.machine.Plug("disk", serial, gib)
	r.keys(firstKey, "")
	return r
}

func (r *encryptedRig) unmountAll() {
	table, err := mount.Read()
	if err != nil {
		r.t.Error(err)
	}
	for _, e := range table {
		if strings.HasPrefix(e.Path, r.dir) {
			if err := mount.Unmount(r.t.Context(), e.Path); err != nil {
				r.t.Error(err)
			}
		}
	}
}

// keys makes calls have the passphrases, "" for none.
func (r *encryptedRig) keys(current, previous string) {
	r.context = map[string]string{volume.ContextEncryption: luks.Name}
	r.secrets = map[string]string{"encryption-passphrase": current}
	if previous != "" {
		r.secrets["encryption-passphrase-previous"] = previous
	}
}

func (r *encryptedRig) stage() error {
	_, err := r.NodeStageVolume(r.t.Context(), r.request())
	return err
}

func (r *encryptedRig) request() *csi.NodeStageVolumeRequest {
	req := r.stageRequest(r.capability)
	req.PublishContext, req.VolumeContext, req.Secrets = r.published, r.context, r.secrets
	return req
}

func (r *encryptedRig) publish() error {
	_, err := r.NodePublishVolume(r.t.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: volumeID, StagingTargetPath: r.staging, TargetPath: r.target, VolumeCapability: r.capability,
		PublishContext: r.published, VolumeContext: r.context,
	})
	return err
}

func (r *encryptedRig) expand(size int64) (int64, error) {
	resp, err := r.NodeExpandVolume(r.t.Context(), &csi.NodeExpandVolumeRequest{
		VolumeId: volumeID, VolumePath: r.target, CapacityRange: &csi.CapacityRange{RequiredBytes: size}, Secrets: r.secrets,
	})
	return resp.GetCapacityBytes(), err
}

func (r *encryptedRig) up() {
	r.t.Helper()
	r.must(r.stage())
	r.must(r.publish())
}

func (r *encryptedRig) down() {
	r.t.Helper()
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
	r.closed()
}

// reboot leaves what is on the disk and nothing else.
func (r *encryptedRig) reboot() {
	r.t.Helper()
	r.unmountAll()
	testcrypt.Reboot(r.t, r.machine)
	r.Service = r.restarted("the-boot-after")
}

// closed checks that nothing is open on the disk.
func (r *encryptedRig) closed() {
	r.t.Helper()
	if all, err := r.machine.Mappers(""); err != nil || len(all) > 0 {
		r.t.Errorf("open are %+v, %v", all, err)
	}
}

// opens checks which passphrases open the disk.
func (r *encryptedRig) opens(passphrases map[luks.Passphrase]bool) {
	r.t.Helper()
	for p, want := range passphrases {
		if err := luks.New().Test(r.t.Context(), r.machine.Device(serial).Path, p); (err == nil) != want {
			r.t.Errorf("%q opens the disk: want %t, got %v", string(p), want, err)
		}
	}
}

// content is the header of the disk and what follows it.
func (r *encryptedRig) content() []byte {
	r.t.Helper()
	file, err := device.Open(r.machine.Device(serial), os.O_RDONLY)
	r.must(err)
	defer file.Close() //nolint:errcheck // only read from
	raw, err := io.ReadAll(io.LimitReader(file, 20<<20))
	r.must(err)
	return raw
}

// TestEncryptedLife: every call twice, a reboot, a new process, a wrong and a missing passphrase.
func TestEncryptedLife(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newEncryptedRig(t, mountCapability(writer, fsType))
			for range 2 {
				r.up()
				r.mustBe(0, "")
			}
			r.write(filepath.Join(r.target, "file"), "data")
			want(t, r.unstage(), codes.FailedPrecondition, r.target)
			for range 2 {
				r.down()
			}
			before := r.content()
			r.keys(secondKey, "")
			want(t, r.stage(), codes.Unauthenticated, serial, "passphrase", "nothing was changed")
			r.closed()
			r.keys(secondKey, thirdKey)
			want(t, r.stage(), codes.Unauthenticated, "passphrase")
			r.keys("", "")
			want(t, r.stage(), codes.InvalidArgument, "an empty encryption-passphrase", "node-stage-secret-name")
			r.secrets = nil
			want(t, r.stage(), codes.InvalidArgument, "no encryption-passphrase", "node-stage-secret-name")
			r.keys(strings.Repeat("x", luks.MaxPassphrase+1), "")
			want(t, r.stage(), codes.InvalidArgument, "513 bytes")
			if !bytes.Equal(before, r.content()) {
				t.Error("the disk was changed")
			}
			r.keys(firstKey, "")
			r.up()
			// What an earlier process opened goes on, and is staged again.
			r.Service = r.restarted(bootID)
			r.up()
			r.reboot()
			r.up()
			if got := r.read(filepath.Join(r.target, "file")); got != "data" {
				t.Errorf("read %q", got)
			}
			r.down()
		})
	}
}

// TestOpenIsNoPermission: what an earlier process left open is not given to whoever does not know the passphrase.
func TestOpenIsNoPermission(t *testing.T) {
	for name, capability := range map[string]*csi.VolumeCapability{"mounted": mountCapability(writer, "ext4"), "raw": blockCapability(writer)} {
		t.Run(name, func(t *testing.T) {
			r := newEncryptedRig(t, capability)
			r.must(r.stage())
			r.unmountAll()
			if all, err := r.machine.Mappers(""); err != nil || len(all) != 1 {
				t.Fatalf("open are %+v, %v", all, err)
			}
			r.Service = r.restarted(bootID)
			r.keys(secondKey, "")
			want(t, r.stage(), codes.Unauthenticated, "passphrase")
			r.closed()
			r.keys(firstKey, "")
			r.up()
			r.down()
		})
	}
}

// TestEncryptionAskedForAndNot: plain where encryption is asked for, and the reverse, are refused, and nothing is written.
func TestEncryptionAskedForAndNot(t *testing.T) {
	r := newEncryptedRig(t, mountCapability(writer, "ext4"))
	r.context, r.secrets = nil, nil
	r.up()
	r.write(filepath.Join(r.target, "file"), "data")
	r.keys(firstKey, "")
	want(t, r.stage(), codes.Unavailable, "staged without encryption", "still mounted")
	r.context = nil
	want(t, r.stage(), codes.InvalidArgument, "encryption: luks2")
	r.context = map[string]string{volume.ContextEncryption: "luks1"}
	want(t, r.stage(), codes.InvalidArgument, "luks1")
	r.down()
	before := r.sum()
	r.keys(firstKey, "")
	want(t, r.stage(), codes.FailedPrecondition, "holds ext4 and is not encrypted")
	r.capability = blockCapability(writer)
	want(t, r.stage(), codes.FailedPrecondition, "holds ext4 and is not encrypted")
	if r.sum() != before {
		t.Error("the disk was written to")
	}

	r = newEncryptedRig(t, mountCapability(writer, "xfs"))
	r.up()
	r.write(filepath.Join(r.target, "file"), "data")
	r.down()
	before = r.sum()
	r.context, r.secrets = nil, nil
	want(t, r.stage(), codes.FailedPrecondition, "encryption: luks2")
	r.capability = blockCapability(writer)
	want(t, r.stage(), codes.FailedPrecondition, "encryption: luks2")
	r.must(r.state.WriteStaged(state.Staged{VolumeID: volumeID, Serial: serial, Block: true, BootID: "earlier"}))
	want(t, r.publish(), codes.FailedPrecondition, "encryption: luks2") // it was staged before a reboot
	r.must(r.state.ClearStaged(volumeID))
	if r.sum() != before {
		t.Error("the disk was written to")
	}
	r.capability = mountCapability(writer, "xfs")
	r.keys(firstKey, "")
	r.up()
	if got := r.read(filepath.Join(r.target, "file")); got != "data" {
		t.Errorf("read %q", got)
	}
	r.down()
}

// TestSourceIsOpenedOnly: a volume that was made from something is opened, never encrypted.
func TestSourceIsOpenedOnly(t *testing.T) {
	r := newEncryptedRig(t, mountCapability(writer, "ext4"))
	r.context[volume.ContextContentSource] = "snapshot/" + otherID
	before := r.sum()
	want(t, r.stage(), codes.FailedPrecondition, "source")
	if r.sum() != before {
		t.Error("the disk was written to")
	}
	r.keys(firstKey, "")
	r.up()
	r.write(filepath.Join(r.target, "file"), "data")
	r.down()
	r.context[volume.ContextContentSource] = "snapshot/" + otherID
	r.up()
	if got := r.read(filepath.Join(r.target, "file")); got != "data" {
		t.Errorf("read %q", got)
	}
	r.down()
}

// TestEncryptedExpand: the device on the disk grows, which takes the passphrase, and then the file system.
func TestEncryptedExpand(t *testing.T) {
	const size = 2 * gib
	for name, capability := range map[string]*csi.VolumeCapability{"xfs": mountCapability(writer, "xfs"), "raw": blockCapability(writer)} {
		t.Run(name, func(t *testing.T) {
			r := newEncryptedRig(t, capability)
			r.up()
			r.machine.Grow("disk", size, true)
			r.secrets = nil
			_, err := r.expand(size)
			want(t, err, codes.FailedPrecondition, "node-expand-secret-name")
			r.keys(secondKey, "")
			_, err = r.expand(size)
			want(t, err, codes.Unauthenticated, "passphrase")
			r.keys(firstKey, "")
			r.program.Idle(t, "resize")
			_, err = r.expand(size)
			want(t, err, codes.Internal, "still lacks 1073741824 bytes")
			r.program.Idle(t, "")
			r.keys(secondKey, firstKey) // changed, and not staged since
			for range 2 {
				if got, err := r.expand(size); err != nil || got != size {
					t.Errorf("it grew to %d, %v", got, err)
				}
			}
			r.secrets = nil // nothing is left to do
			if got, err := r.expand(size); err != nil || got != size {
				t.Errorf("it has %d, %v", got, err)
			}
			resp, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.target})
			r.must(err)
			if total := resp.GetUsage()[0].GetTotal(); total < (size-16<<20)*9/10 || total > size-16<<20 {
				t.Errorf("it has %d bytes", total)
			}
			r.keys(firstKey, "")
			r.down()
		})
	}
}

// TestPassphraseIsChanged: the new one replaces the previous one when the volume is staged, and nothing else changes.
func TestPassphraseIsChanged(t *testing.T) {
	r := newEncryptedRig(t, mountCapability(writer, "ext4"))
	r.up()
	r.write(filepath.Join(r.target, "file"), "data")
	r.down()
	r.keys(secondKey, firstKey)
	r.capability = mountCapability(reader, "ext4")
	before := r.content()[:16<<20]
	r.up()
	r.down()
	if !bytes.Equal(before, r.content()[:16<<20]) {
		t.Error("the header was changed for somebody who only reads")
	}
	r.capability = mountCapability(writer, "ext4")
	for range 2 {
		r.up()
		if got := r.read(filepath.Join(r.target, "file")); got != "data" {
			t.Errorf("read %q", got)
		}
		r.down()
		r.opens(map[luks.Passphrase]bool{firstKey: false, secondKey: true})
	}

	// A process was killed after it had added the new one. A key slot of somebody's own stays.
	disk := r.machine.Device(serial).Path
	r.must(luks.New().Add(t.Context(), disk, secondKey, firstKey))
	r.must(luks.New().Add(t.Context(), disk, secondKey, thirdKey))
	r.keys(firstKey, secondKey)
	r.up()
	r.down()
	r.opens(map[luks.Passphrase]bool{firstKey: true, secondKey: false, thirdKey: true})
	r.up()
	r.down()
	r.opens(map[luks.Passphrase]bool{firstKey: true, thirdKey: true})
}

// TestEncryptedRaw: a pod has what is inside as a device, never the disk, and what it wrote is not formatted.
func TestEncryptedRaw(t *testing.T) {
	r := newEncryptedRig(t, blockCapability(writer))
	want(t, r.publish(), codes.FailedPrecondition, "not staged")
	for range 2 {
		r.up()
	}
	number, _, err := device.At(r.target)
	r.must(err)
	if number == r.machine.Device(serial).Number {
		t.Fatal("the pod has the disk itself")
	}
	file, err := os.OpenFile(r.target, os.O_RDWR, 0)
	r.must(err)
	_, err = file.WriteAt([]byte("written"), 4711)
	r.must(err)
	r.must(file.Close())
	r.down()
	r.capability = mountCapability(writer, "ext4")
	want(t, r.stage(), codes.FailedPrecondition, "nothing recognises")
	r.closed()
	r.capability = blockCapability(writer)
	r.up()
	raw := make([]byte, 7)
	file, err = os.Open(r.target)
	r.must(err)
	_, err = file.ReadAt(raw, 4711)
	r.must(err)
	r.must(file.Close())
	if string(raw) != "written" {
		t.Errorf("read %q", raw)
	}
	r.down()
}

// TestEncryptedByAnyDeadline: however short the calls are, the volume is staged some time.
func TestEncryptedByAnyDeadline(t *testing.T) {
	r := newEncryptedRig(t, mountCapability(writer, "xfs"))
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		_, err := r.NodeStageVolume(ctx, r.request())
		cancel()
		if err == nil {
			break
		}
		if code := status.Code(err); code != codes.Aborted && code != codes.DeadlineExceeded {
			t.Fatal(err)
		}
	}
	r.must(r.publish())
	r.down()
}
