package node_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
)

// putOnDisk writes to the disk itself.
func (r *encryptedRig) putOnDisk(at int64, raw []byte) {
	r.t.Helper()
	file, err := device.Open(r.machine.Device(serial), os.O_RDWR)
	r.must(err)
	_, err = file.WriteAt(raw, at)
	r.must(err)
	r.must(file.Sync())
	r.must(file.Close())
}

// TestHalfAHeader: a process was killed, or the machine lost, while the header was written. What is there is overwritten when
// the record says that it is ours, written since the disk was last plugged in, or the header says that nobody can ever have
// put anything inside; else it may be somebody's.
func TestHalfAHeader(t *testing.T) {
	noise := make([]byte, 64<<10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	header := func(r *encryptedRig) {
		r.must(luks.New().Format(t.Context(), r.machine.Device(serial).Path, volumeID, firstKey))
	}
	damaged := func(r *encryptedRig) {
		header(r)
		r.putOnDisk(9000, []byte("x"))            // in the text of the first copy
		r.putOnDisk(16<<10, make([]byte, 16<<10)) // the second one
	}
	for name, c := range map[string]struct {
		left  func(*encryptedRig)
		words string // of the refusal without a record, "" when it is none
	}{
		"the area of the keys": {func(r *encryptedRig) { r.putOnDisk(32<<10, noise) }, "nothing recognises"},
		"a damaged header":     {damaged, "checksum is wrong"},
		"no key": {func(r *encryptedRig) {
			header(r)
			r.must(luks.New().Remove(t.Context(), r.machine.Device(serial).Path, firstKey))
		}, ""},
		"the first copy": {func(r *encryptedRig) {
			header(r)
			r.putOnDisk(16<<10, make([]byte, 16<<10))
		}, ""},
		"the second copy": {func(r *encryptedRig) {
			header(r)
			r.putOnDisk(0, make([]byte, 16<<10))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newEncryptedRig(t, mountCapability(writer, "ext4"))
			c.left(r)
			if c.words != "" {
				for what, change := range map[string]func(*state.Intent){
					"none": nil, "of another stay": func(i *state.Intent) { i.DiskSeq-- }, "of another boot": func(i *state.Intent) { i.BootID = "another" },
					"of no encryption": func(i *state.Intent) { i.Layer = "" }, "of another file system": func(i *state.Intent) { i.FSType = "xfs" },
				} {
					if change != nil {
						i := r.intent()
						change(&i)
						r.must(r.state.WriteIntent(i))
					}
					before := r.content()
					want(t, r.stage(), codes.FailedPrecondition, c.words)
					if !bytes.Equal(before, r.content()) {
						t.Fatalf("record %s: the disk was changed", what)
					}
					r.closed()
				}
				r.must(r.state.WriteIntent(r.intent()))
			}
			r.up()
			r.write(filepath.Join(r.target, "file"), "data")
			r.down()
			r.up()
			if got := r.read(filepath.Join(r.target, "file")); got != "data" {
				t.Errorf("read %q", got)
			}
			r.down()
		})
	}
}

// intent is the record of an encryption that was begun since the disk was plugged in.
func (r *encryptedRig) intent() state.Intent {
	return state.Intent{VolumeID: volumeID, Serial: serial, FSType: "ext4", Layer: luks.Name, BootID: bootID, DiskSeq: r.machine.Device(serial).Seq}
}

// TestEncryptedPublishedReadOnly: nothing of the volume can be written, through the mount, to the device on the disk, or to
// the disk, until it is unstaged. It does not grow meanwhile.
func TestEncryptedPublishedReadOnly(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newEncryptedRig(t, mountCapability(writer, fsType))
			r.published = readOnlyContext()
			before := r.sum()
			want(t, r.stage(), codes.FailedPrecondition, "read-only") // it is blank
			if r.sum() != before || r.isReadOnly() {
				t.Error("a refused staging changed the disk")
			}
			r.published = publishContext
			r.up()
			r.write(filepath.Join(r.target, "file"), "data")
			r.down()
			r.published = readOnlyContext()
			for range 2 {
				r.up()
			}
			if got := r.read(filepath.Join(r.target, "file")); got != "data" {
				t.Errorf("read %q", got)
			}
			inside, err := r.machine.MapperAt(r.number(r.staging))
			r.must(err)
			open := device.Device{Path: inside.Path, Number: inside.Number}
			is, err := device.ReadOnly(open)
			r.must(err)
			if !is || !r.isReadOnly() {
				t.Errorf("what is open is read-only: %t, or the disk is not", is)
			}
			r.machine.Grow("disk", 2*gib, true)
			_, err = r.expand(2 * gib)
			want(t, err, codes.FailedPrecondition, "staged read-only")
			if size, err := device.Measure(open); err != nil || size >= gib {
				t.Errorf("what is open has %d bytes, %v", size, err)
			}
			r.down()
			if r.isReadOnly() {
				t.Error("the disk is still read-only")
			}
			// A plugin that was killed before it could take the flag back.
			r.must(device.SetReadOnly(r.machine.Device(serial), true))
			r.published = publishContext
			r.up()
			r.write(filepath.Join(r.target, "more"), "data")
			if size := r.size(r.target); size < 3*gib/2 {
				t.Errorf("it has %d bytes", size)
			}
			r.down()
		})
	}
}

// TestOpenWithoutARecord: a process was killed with the disk open, and its records are lost. Before the disk is detached it
// is closed.
func TestOpenWithoutARecord(t *testing.T) {
	r := newEncryptedRig(t, mountCapability(writer, "ext4"))
	r.must(r.stage())
	r.unmountAll()
	r.must(r.state.ClearStaged(volumeID))
	r.must(r.unstage())
	r.closed()
}

// TestEncryptedFailedFileSystem: a file system that has failed is checked and mounted again when a pod is to have it, although
// a call to publish has no passphrase.
func TestEncryptedFailedFileSystem(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		r := newEncryptedRig(t, mountCapability(writer, "xfs"))
		r.up()
		r.write(filepath.Join(r.target, "file"), "data")
		r.run("sync", "--file-system", r.staging)
		r.must(r.unpublish(r.target))
		shutdown(t, r.staging)
		if restarted {
			r.Service = r.restarted(bootID)
		}
		r.must(r.publish())
		if got := r.read(filepath.Join(r.target, "file")); got != "data" {
			t.Errorf("restarted %t: read %q", restarted, got)
		}
		r.down()
	}
}

// TestEncryptionIsOfBlockStorage: no other kind of storage is taken for encrypted.
func TestEncryptionIsOfBlockStorage(t *testing.T) {
	r := newRig(t)
	req := r.stageRequest(mountCapability(writer, ""))
	req.PublishContext = map[string]string{"mount_vol_name": "70123", "storage_type": "vfs"}
	req.VolumeContext = map[string]string{"encryption": "luks2"}
	req.Secrets = map[string]string{"encryption-passphrase": firstKey}
	_, err := r.NodeStageVolume(t.Context(), req)
	want(t, err, codes.InvalidArgument, "encryption", "block")
}
