package node_test

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcrypt"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// stageCopy stages the other disk, which was made from the volume.
func (r *encryptedRig) stageCopy(path string, secrets map[string]string) error {
	_, err := r.NodeStageVolume(r.t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: otherID, StagingTargetPath: path, VolumeCapability: r.capability,
		PublishContext: map[string]string{"mount_vol_name": other, "storage_type": "block"},
		VolumeContext:  map[string]string{volume.ContextEncryption: luks.Name, volume.ContextContentSource: "volume/" + volumeID},
		Secrets:        secrets,
	})
	return err
}

// diskUnder is the disk on which what is mounted at a path is open.
func (r *encryptedRig) diskUnder(path string) device.Number {
	r.t.Helper()
	m, err := r.machine.MapperAt(r.number(path))
	r.must(err)
	if m == nil {
		r.t.Fatalf("%s is not on an encrypted disk", path)
	}
	disk, err := r.machine.Below(*m)
	r.must(err)
	return disk.Number
}

// TestEncryptedCopyBesideItsSource: a copy has the header of its source, with its UUID and its passphrases, and is open
// beside it, each on its own disk. What happens to the passphrase of one does not happen to the other.
func TestEncryptedCopyBesideItsSource(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newEncryptedRig(t, mountCapability(writer, fsType))
			r.machine.Plug("copy", other, 2*gib)
			r.must(r.stage())
			r.write(filepath.Join(r.staging, "file"), "data")
			r.run("sync", "--file-system", r.staging)
			r.copyDisk()
			r.write(filepath.Join(r.staging, "file"), "later")
			path := filepath.Join(r.dir, "copy")
			want(t, r.stageCopy(path, map[string]string{"encryption-passphrase": secondKey}), codes.Unauthenticated, "passphrase")
			first := r.secrets
			r.must(r.stageCopy(path, first))
			beside := func(source, copied string) {
				t.Helper()
				for at, want := range map[string]struct{ text, serial string }{r.staging: {source, serial}, path: {copied, other}} {
					if got := r.read(filepath.Join(at, "file")); got != want.text {
						t.Errorf("%s has %q, want %q", at, got, want.text)
					}
					if got, disk := r.diskUnder(at), r.machine.Device(want.serial).Number; got != disk {
						t.Errorf("%s is on disk %s, want %s", at, got, disk)
					}
				}
			}
			beside("later", "data")
			if size := r.size(path); size < 3*gib/2 {
				t.Errorf("the file system of the copy has %d bytes", size)
			}
			r.write(filepath.Join(path, "file"), "copy")
			r.must(r.unstage())
			r.keys(secondKey, firstKey)
			r.must(r.stage()) // beside the copy, which was there first
			beside("later", "copy")
			r.must(r.unstageCopy(path))
			r.must(r.stageCopy(path, first))
			beside("later", "copy")
			r.must(r.unstage())
			r.must(r.unstageCopy(path))
			r.closed()
		})
	}
}

// TestCopyOfAFreshVolume: the source was encrypted and nothing was put inside when the copy was taken. The copy is not
// formatted, even when nobody says that it is a copy: its header is of another volume.
func TestCopyOfAFreshVolume(t *testing.T) {
	r := newEncryptedRig(t, mountCapability(writer, "ext4"))
	r.must(luks.New().Format(t.Context(), r.machine.Device(serial).Path, otherID, firstKey))
	before := r.sum()
	want(t, r.stage(), codes.FailedPrecondition, "nothing recognises")
	if r.sum() != before {
		t.Error("the disk was written to")
	}
	r.closed()
}

// TestMapperOfAnotherDisk: what is open by the volume's name on the disk of another volume is not taken for the volume, and
// not closed while somebody uses it.
func TestMapperOfAnotherDisk(t *testing.T) {
	r := newEncryptedRig(t, mountCapability(writer, "ext4"))
	r.up()
	r.write(filepath.Join(r.target, "file"), "data")
	r.down()
	r.machine.Plug("other", other, gib)
	foreign := r.machine.Device(other)
	r.must(luks.New().Format(t.Context(), foreign.Path, otherID, firstKey))
	name := "csi-vultr-" + volumeID + "-" + strconv.FormatUint(r.machine.Device(serial).Seq, 10)
	testcrypt.Open(t, r.machine, foreign.Path, name)
	all, err := r.machine.Mappers(name)
	r.must(err)
	r.run("mkfs.ext4", "-q", all[0].Path)
	elsewhere := filepath.Join(r.dir, "elsewhere")
	r.must(mount.MakeDir(elsewhere))
	r.must(mount.FileSystem(t.Context(), all[0].Path, elsewhere, "ext4", nil))
	want(t, r.publish(), codes.FailedPrecondition)
	want(t, r.stage(), codes.Unavailable, "in use", name) // so that the volume is unstaged, which waits for the same
	want(t, r.unstage(), codes.FailedPrecondition, "in use", name)
	if got := r.number(elsewhere); got != all[0].Number {
		t.Errorf("elsewhere is %s", got)
	}
	r.must(mount.Unmount(t.Context(), elsewhere))
	r.up()
	if got := r.read(filepath.Join(r.target, "file")); got != "data" {
		t.Errorf("read %q", got)
	}
	if got, disk := r.diskUnder(r.staging), r.machine.Device(serial).Number; got != disk {
		t.Errorf("staged is disk %s, want %s", got, disk)
	}
	r.down()
}
