package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// put writes bytes to the disk at an offset.
func (r *rig) put(offset int64, data string) {
	r.t.Helper()
	f, err := os.OpenFile(r.machine.Device(serial).Path, os.O_RDWR, 0)
	r.must(err)
	_, err = f.WriteAt([]byte(data), offset)
	r.must(err)
	r.must(f.Sync())
	r.must(f.Close())
}

// TestWhatMightHoldDataIsNotFormatted has disks that no format may touch, and proves that not a byte changed.
func TestWhatMightHoldDataIsNotFormatted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(r *rig, path string)
		fsType  string
		context map[string]string
		words   string
	}{
		"data at the start":     {prepare: func(r *rig, _ string) { r.put(0, "x") }, words: "byte 0"},
		"data at the end":       {prepare: func(r *rig, _ string) { r.put(small-1, "x") }, words: "nothing recognises"},
		"data in the first MiB": {prepare: func(r *rig, _ string) { r.put(777777, "x") }, words: "byte 777777"},
		"a backup superblock":   {prepare: func(r *rig, _ string) { r.put(128<<20, "x") }, words: "byte 134217728"},
		"another file system":   {prepare: func(r *rig, p string) { r.run("mkfs.xfs", "-q", p) }, fsType: "ext4", words: "xfs, asked for is ext4"},
		"swap":                  {prepare: func(r *rig, p string) { r.run("mkswap", p) }, words: "swap"},
		"a partition table": {prepare: func(r *rig, _ string) {
			r.put(446, "\x00\x20\x21\x00\x83\xfe\xff\xff\x00\x08\x00\x00\x00\x00\x0f\x00")
			r.put(510, "\x55\xaa")
		}, words: "partition table"},
		"a source": {
			prepare: func(*rig, string) {}, words: "source",
			context: map[string]string{volume.ContextContentSource: "snapshot"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			disk := r.machine.Plug("disk", serial, small)
			c.prepare(r, filepath.Join(r.machine.DeviceDir, disk))
			before := r.sum()
			req := r.stageRequest(mountCapability(writer, c.fsType))
			req.VolumeContext = c.context
			_, err := r.NodeStageVolume(t.Context(), req)
			want(t, err, codes.FailedPrecondition, c.words, "wipefs")
			if after := r.sum(); after != before {
				t.Error("the disk was written to")
			}
		})
	}
}

// TestCutOffFormat: what our own format left may be formatted again, and only that.
func TestCutOffFormat(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*state.Intent)
		code   codes.Code
	}{
		"ours":                 {func(*state.Intent) {}, codes.OK},
		"another boot":         {func(i *state.Intent) { i.BootID = "earlier" }, codes.FailedPrecondition},
		"an earlier stay":      {func(i *state.Intent) { i.DiskSeq-- }, codes.FailedPrecondition},
		"of an older version":  {func(i *state.Intent) { i.DiskSeq = 0 }, codes.FailedPrecondition},
		"another disk":         {func(i *state.Intent) { i.Serial = other }, codes.FailedPrecondition},
		"another file system":  {func(i *state.Intent) { i.FSType = "xfs" }, codes.FailedPrecondition},
		"the record of others": {func(i *state.Intent) { i.VolumeID = otherID }, codes.FailedPrecondition},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, small)
			r.put(128<<20, "half of a file system")
			intent := r.intent()
			c.change(&intent)
			r.must(r.state.WriteIntent(intent))
			want(t, r.stage(mountCapability(writer, "ext4")), c.code)
		})
	}
}

// intent is the record of a format of the disk that is plugged in.
func (r *rig) intent() state.Intent {
	return state.Intent{VolumeID: volumeID, Serial: serial, FSType: "ext4", BootID: bootID, DiskSeq: r.machine.Device(serial).Seq}
}

// TestDiskThatWasElsewhere: the format of a disk is cut off, its volume is used on another node, as what nobody
// recognises, and comes back while this machine runs on with its record.
func TestDiskThatWasElsewhere(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	r.must(r.state.WriteIntent(r.intent()))
	r.machine.Unplug("disk")
	r.machine.Plug("disk", serial, small)
	r.put(128<<20, "what an application wrote to its raw disk")
	before := r.sum()
	want(t, r.stage(mountCapability(writer, "ext4")), codes.FailedPrecondition, "plugged in", "wipefs")
	if r.sum() != before {
		t.Error("the disk was written to")
	}
}

// TestUnfinishedFileSystem: a file system that the cut-off format left with its first superblock is used when it
// mounts; when it does not, it is made again only if it proves that it was never mounted.
func TestUnfinishedFileSystem(t *testing.T) {
	t.Parallel()
	const groupDescriptors = 4096 // of an ext4 with 4 KiB blocks
	for name, c := range map[string]struct {
		used, intent bool
		code         codes.Code
	}{
		"never mounted, with our intent": {false, true, codes.OK},
		"never mounted, no intent":       {false, false, codes.FailedPrecondition},
		"used, with our intent":          {true, true, codes.FailedPrecondition},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			path := filepath.Join(r.machine.DeviceDir, r.machine.Plug("disk", serial, small))
			r.run("mkfs.ext4", "-q", path)
			if c.used {
				r.must(os.MkdirAll(r.staging, 0o700))
				r.run("mount", path, r.staging)
				r.run("umount", r.staging)
			}
			// Break every copy of the group descriptors and the root inode's table, so that e2fsck -p gives up.
			r.put(groupDescriptors, string(make([]byte, 4096)))
			for _, group := range []int64{1, 3} {
				r.put(group*128<<20, string(make([]byte, 8192)))
			}
			if c.intent {
				r.must(r.state.WriteIntent(r.intent()))
			}
			want(t, r.stage(mountCapability(writer, "ext4")), c.code)
		})
	}
}

// TestIntentGoesWithTheVolume: a record must not outlive the stay of its disk on the node, nor its use.
func TestIntentGoesWithTheVolume(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(r *rig) error{
		"unplugged and unstaged": func(r *rig) error { r.machine.Unplug("disk"); return r.unstage() },
		"replugged and unstaged": func(r *rig) error {
			r.machine.Unplug("disk")
			r.machine.Plug("disk", serial, small)
			return r.unstage()
		},
		"another boot": func(r *rig) error { r.Service = r.restarted("another"); return nil },
		"found mounted": func(r *rig) error {
			path := r.machine.Device(serial).Path
			r.run("mkfs.ext4", "-q", path)
			r.must(mount.MakeDir(r.staging))
			r.run("mount", path, r.staging)
			return r.stage(mountCapability(writer, "ext4"))
		},
		"staged as block":  func(r *rig) error { return r.stage(blockCapability(writer)) },
		"staged and found": func(r *rig) error { return r.stage(mountCapability(writer, "ext4")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, small)
			r.must(r.state.WriteIntent(r.intent()))
			r.must(do(r))
			if i, err := r.state.Intent(volumeID); err != nil || i != nil {
				t.Errorf("the record is left: %+v, %v", i, err)
			}
		})
	}
}

// TestUnreadableRecord: a record that cannot be read is not taken for none.
func TestUnreadableRecord(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	r.write(filepath.Join(r.dir, "state", volumeID+".intent.json"), "{")
	before := r.sum()
	want(t, r.stage(mountCapability(writer, "ext4")), codes.Internal, "record")
	if r.sum() != before {
		t.Error("the disk was written to")
	}
}

// TestIntentsOutliveTheProcessNotTheBoot: the next process may continue a format of this boot, and forgets those of
// earlier ones.
func TestIntentsOutliveTheProcessNotTheBoot(t *testing.T) {
	r := newRig(t)
	r.must(r.state.WriteIntent(state.Intent{VolumeID: volumeID, Serial: serial, FSType: "ext4", BootID: bootID, DiskSeq: 7}))
	r.must(r.state.WriteIntent(state.Intent{VolumeID: otherID, Serial: other, FSType: "ext4", BootID: "earlier", DiskSeq: 7}))
	r.restarted(bootID)
	if i, err := r.state.Intent(volumeID); err != nil || i == nil {
		t.Errorf("the one of this boot is %+v, %v", i, err)
	}
	if i, err := r.state.Intent(otherID); err != nil || i != nil {
		t.Errorf("the one of an earlier boot is %+v, %v", i, err)
	}
}
