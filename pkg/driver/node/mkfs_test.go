package node_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// TestFormatOfTheVolumeContext: how a blank volume's file system is made is in its context, which may have been written by
// hand: it is judged before anything is written. A volume that has a file system keeps it, whatever the context says.
func TestFormatOfTheVolumeContext(t *testing.T) {
	t.Parallel()
	for fsType, good := range map[string]map[string]string{
		"ext4": {"mkfs_block_size": "1024", "mkfs_inode_size": "512", "mkfs_bytes_per_inode": "65536", "somebody.else/key": "x"},
		"xfs":  {"mkfs_block_size": "1024"},
	} {
		t.Run(fsType, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			req := r.stageRequest(mountCapability(writer, fsType))
			stage := func(context map[string]string) error {
				req.VolumeContext = context
				_, err := r.NodeStageVolume(t.Context(), req)
				return err
			}
			before := r.sum()
			want(t, stage(map[string]string{"mkfs_block_sizes": "1024", "mkfs_inode_size": "4k"}), codes.InvalidArgument, `"mkfs_block_size"`, "4k")
			want(t, stage(map[string]string{"mkfs_block_size": "1024", "mkfs_inode_size": "2048"}), codes.InvalidArgument, "mkfs_inode_size")
			if r.sum() != before {
				t.Error("the disk was written to")
			}
			r.must(stage(good))
			var st unix.Statfs_t
			r.must(unix.Statfs(r.staging, &st))
			if st.Bsize != 1024 {
				t.Errorf("blocks have %d bytes", st.Bsize)
			}
			// One inode for 64 KiB, but for what is reserved in each group.
			if fsType == "ext4" && (st.Files < gib>>16 || st.Files > 2*gib>>16) {
				t.Errorf("it has %d inodes", st.Files)
			}
			r.write(filepath.Join(r.staging, "file"), "data")
			r.must(r.unstage())
			r.must(stage(map[string]string{"mkfs_block_size": "nonsense", "mkfs_unknown": "1"}))
			if got := r.read(filepath.Join(r.staging, "file")); !strings.Contains(got, "data") {
				t.Errorf("read %q", got)
			}
		})
	}
}
