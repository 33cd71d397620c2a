package node_test

import (
	"os"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
)

// TestSeveralOptionsInOneText: mount(8) takes them so, and volumes of the official driver may have them so.
func TestSeveralOptionsInOneText(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.must(r.stage(mountCapability(writer, "ext4", "noatime,nodev", "noatime")))
	if e, _ := r.mounted(r.staging); !slices.Contains(e.Options, "noatime") || !slices.Contains(e.Options, "nodev") {
		t.Errorf("mounted with %v", e.Options)
	}
}

// TestLabelForSELinux mounts with the option that the kubelet adds where the kernel has SELinux. It is honoured or
// refused, never left out.
func TestLabelForSELinux(t *testing.T) {
	const label = `context="system_u:object_r:container_file_t:s0:c0,c1"`
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	err := r.stage(mountCapability(writer, "ext4", "noatime", label))
	if _, noSELinux := os.Stat("/sys/fs/selinux/enforce"); noSELinux == nil {
		r.must(err)
		e, _ := r.mounted(r.staging)
		if !slices.Contains(e.Options, "noatime") || !slices.ContainsFunc(e.SuperOptions, func(o string) bool { return o == label[:len(label)-len(`,c1"`)] }) {
			t.Errorf("mounted with %v, %v", e.Options, e.SuperOptions)
		}
		return
	}
	want(t, err, codes.Internal, "SELinux", "c0,c1")
	if e, mounted := r.mounted(r.staging); mounted {
		t.Errorf("mounted without the label: %v", e)
	}
	// The file system that was made for it is fine.
	r.must(r.stage(mountCapability(writer, "ext4", "noatime")))
}
