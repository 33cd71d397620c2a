package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/node"
)

// TestSwitchOfSharedFileSystem: a shared file system that another driver staged and published, without a record, is told from
// block storage by its mounts: the pod's path and the staging path are given back, whatever else is mounted of the same disk.
func TestSwitchOfSharedFileSystem(t *testing.T) {
	r := newRig(t)
	content, shown := filepath.Join(r.dir, "content"), filepath.Join(r.dir, "vfs", "79287343")
	second := filepath.Join(r.dir, "pod-2", "target")
	for _, dir := range []string{content, shown, r.staging, r.target, second} {
		r.must(os.MkdirAll(dir, 0o700))
	}
	r.must(mount.Bind(content, shown, false)) // as the machine shows it
	r.must(mount.Bind(shown, r.staging, false))
	r.must(mount.Bind(r.staging, r.target, false))
	r.must(mount.Bind(r.staging, second, false))
	r.write(filepath.Join(r.target, "note"), "hello")
	r.Service = node.New(node.Config{
		Finder: r.machine.Finder, VFSDir: filepath.Join(r.dir, "vfs"), State: r.state, BootID: bootID, Patience: r.patience, KubeletRoot: r.dir,
	})

	want(t, r.unstage(), codes.FailedPrecondition, r.target, second)
	for _, path := range []string{r.target, second} {
		for range 2 {
			r.must(r.unpublish(path))
		}
	}
	for range 2 {
		r.must(r.unstage())
	}
	if _, still := r.mounted(r.staging); still {
		t.Error("it is still staged")
	}
	if _, is := r.mounted(shown); !is {
		t.Error("what the machine shows was unmounted")
	}
	if got := r.read(filepath.Join(content, "note")); got != "hello" {
		t.Errorf("the content is %q", got)
	}
}

// TestUnstageOfAnotherDriverNeedsNobodyLeft: what another driver staged without a record is not released while somebody has it in
// another mount namespace, neither by a second call, which finds nothing mounted any more, nor by a new process.
func TestUnstageOfAnotherDriverNeedsNobodyLeft(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.machine.DeviceDir, r.machine.Plug("disk", serial, gib))
	r.run("mkfs.ext4", "-q", path)
	r.must(mount.MakeDir(r.staging))
	r.run("mount", path, r.staging)
	pod := startHolder(t)
	for range 2 {
		want(t, r.unstage(), codes.FailedPrecondition, "still in use")
	}
	if _, still := r.mounted(r.staging); still {
		t.Error("it is still mounted here")
	}
	r.Service = r.restarted(bootID)
	want(t, r.unstage(), codes.FailedPrecondition, "still in use")
	pod()
	r.must(r.unstage())
	if record, err := r.state.Staged(volumeID); record != nil || err != nil {
		t.Errorf("left is the record %+v, %v", record, err)
	}
}

// TestAnotherDiskIsNotRemembered: what is mounted at the staging path and is no disk of the volume is unmounted, and the volume
// is not taken for staged from it.
func TestAnotherDiskIsNotRemembered(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.machine.DeviceDir, r.machine.Plug("disk", other, gib))
	r.run("mkfs.ext4", "-q", path)
	r.must(mount.MakeDir(r.staging))
	r.run("mount", path, r.staging)
	pod := startHolder(t)
	want(t, r.unstage(), codes.FailedPrecondition, "still in use")
	if record, err := r.state.Staged(volumeID); record != nil || err != nil {
		t.Errorf("the record is %+v, %v", record, err)
	}
	pod()
	r.must(r.unstage())
}

// TestUnstageOfWhatIsMountedElsewhere: nothing is known of a volume, and nothing is at its staging path, but its disk is mounted.
// It is not released before that has ended.
func TestUnstageOfWhatIsMountedElsewhere(t *testing.T) {
	r := newRig(t)
	r.must(r.unstage()) // the disk is not even here
	path := filepath.Join(r.machine.DeviceDir, r.machine.Plug("disk", serial, gib))
	r.run("mkfs.ext4", "-q", path)
	r.must(r.unstage())
	r.must(mount.MakeDir(r.target))
	r.run("mount", path, r.target)
	want(t, r.unstage(), codes.FailedPrecondition, r.target)
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
}

// TestUnstageOfADiskThatIsNotSure: nothing is known of a volume, nothing is at its staging path, and two disks have its serial. Whether
// the one that is mounted is the volume's nobody can tell, so it is not released.
func TestUnstageOfADiskThatIsNotSure(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.machine.DeviceDir, r.machine.Plug("disk", serial, gib))
	r.run("mkfs.ext4", "-q", path)
	r.must(mount.MakeDir(r.target))
	r.run("mount", path, r.target)
	r.machine.Plug("second", serial, gib)
	want(t, r.unstage(), codes.Unavailable, volumeID, "ambiguous")
	r.machine.Unplug("second")
	want(t, r.unstage(), codes.FailedPrecondition, r.target)
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
}
