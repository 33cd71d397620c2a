package node_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
)

// TestKubeletRootSeenTwice: where the kubelet's directory is bound to a second place and shared, every mount has two
// paths. They are one: the volume can be for one pod only, and it can be unstaged.
func TestKubeletRootSeenTwice(t *testing.T) {
	r := newRig(t)
	root, again := filepath.Join(r.dir, "kubelet"), t.TempDir()
	r.must(mount.MakeDir(root))
	r.must(unix.Mount("kubelet", root, "tmpfs", 0, ""))
	r.must(unix.Mount("", root, "", unix.MS_SHARED, ""))
	r.must(mount.Bind(root, again, false))
	r.staging, r.target = filepath.Join(root, "staging"), filepath.Join(root, "pod", "target")
	t.Cleanup(func() { r.must(unix.Unmount(again, unix.MNT_DETACH)) })
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(onePod, "ext4")
	for range 2 {
		r.must(r.stage(capability))
	}
	if _, ok := r.mounted(filepath.Join(again, "staging")); !ok {
		t.Fatal("the directory is not seen twice")
	}
	for range 2 {
		r.must(r.publish(capability, r.target, false))
	}
	want(t, r.publish(capability, filepath.Join(root, "second"), false), codes.FailedPrecondition, r.target)
	want(t, r.unstage(), codes.FailedPrecondition, r.target)
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
	if e, ok := r.mounted(filepath.Join(again, "staging")); ok {
		t.Errorf("left is %+v", e)
	}
}
