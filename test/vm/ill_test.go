package vm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/qemu"
)

var (
	readsFail  = qemu.Ill{Reads: true}
	writesFail = qemu.Ill{Writes: true}
	allFails   = qemu.Ill{Reads: true, Writes: true}
)

func (r *rig) fails(i qemu.Ill) {
	r.t.Helper()
	r.must(r.machine.Fail(r.soon(), r.disk, i))
}

func (r *rig) heals() {
	r.t.Helper()
	r.must(r.machine.Heal(r.soon(), r.disk))
}

// content is what the volume's file has: as much as the agent reads, and like no other volume's.
func (r *rig) content() []byte {
	data := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(r.id))).Read(data) // it never fails
	return data
}

// fill has a pod write the content, which is on the disk then.
func (r *rig) fill() {
	r.t.Helper()
	r.must(r.agent.Write(r.soon(), r.target+"/content", r.content()))
}

// intact checks that a pod reads the content.
func (r *rig) intact(target string) {
	r.t.Helper()
	got, err := r.agent.Read(r.soon(), target+"/content")
	r.must(err)
	if !bytes.Equal(got, r.content()) {
		r.t.Errorf("of the content %d bytes are there, with the checksum %x", len(got), sha256.Sum256(got))
	}
}

// filledAndDown has a volume with the content that is unstaged, its disk still plugged in.
func (r *rig) filledAndDown() {
	r.t.Helper()
	r.up()
	r.fill()
	r.down()
}

// sum is the checksum of the whole disk.
func (r *rig) sum() string {
	r.t.Helper()
	all, chunk, zero := sha256.New(), make([]byte, 4<<20), make([]byte, 4<<20)
	for at := int64(0); ; at += int64(len(chunk)) {
		n, err := r.disk.ReadAt(chunk, at)
		if !bytes.Equal(chunk[:n], zero[:n]) {
			_, _ = fmt.Fprintf(all, "%d:", at) // a hash takes everything
			_, _ = all.Write(chunk[:n])
		}
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(all.Sum(nil))
		}
		r.must(err)
	}
}

// health asks what is wrong with the volume, as the kubelet does.
func (r *rig) health() []*csi.VolumeHealth_VolumeHealthEntry {
	r.t.Helper()
	resp, err := r.NodeGetVolumeHealth(r.soon(), &csi.NodeGetVolumeHealthRequest{VolumeId: r.id, VolumePublishPath: r.target, StagingTargetPath: r.staging})
	r.must(err)
	return resp.GetVolumeHealth().GetHealthStatuses()
}

// refuses checks that a call failed because of what is wrong with the disk, in words that name it.
func (r *rig) refuses(err error, words ...string) {
	r.t.Helper()
	if slices.Contains([]codes.Code{codes.OK, codes.DeadlineExceeded, codes.Canceled, codes.Unknown}, status.Code(err)) {
		r.t.Errorf("of a disk with I/O errors the answer is %v", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(w)) {
			r.t.Errorf("%q does not mention %q", err, w)
		}
	}
}

// TestUnreadableDiskIsLeftAlone: what cannot be read is not formatted, whether it is the whole disk or the one sector that
// tells what is on it, and not changed at all. When it can be read again, staging goes on from what is there.
func TestUnreadableDiskIsLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		fsType string
		blank  bool
		ill    qemu.Ill
	}{
		"blank":             {"ext4", true, readsFail},
		"ext4":              {"ext4", false, readsFail},
		"ext4, superblock":  {"ext4", false, qemu.Ill{Reads: true, Sectors: []int64{2}}},
		"xfs, superblock":   {"xfs", false, qemu.Ill{Reads: true, Sectors: []int64{0}}},
		"btrfs, superblock": {"btrfs", false, qemu.Ill{Reads: true, Sectors: []int64{128}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, mounted(c.fsType))
			r.plug()
			if !c.blank {
				r.filledAndDown()
			}
			node, before := r.device(), r.sum()
			r.fails(c.ill)
			for range 2 {
				want(t, r.stage(), codes.FailedPrecondition, node, r.serial, "cannot be judged and is left as it is")
			}
			if n := r.mounts(); n != 0 {
				t.Errorf("the volume has %d mounts", n)
			}
			if r.sum() != before {
				t.Error("the disk was written to")
			}
			r.heals()
			r.up()
			if c.blank {
				r.fill()
			}
			r.intact(r.target)
			r.down()
		})
	}
}

// TestEncryptedUnreadable: an encrypted disk whose header cannot be read gets no new one.
func TestEncryptedUnreadable(t *testing.T) {
	r := newRig(t, mounted("ext4")).encrypted(firstKey, "")
	r.plug()
	r.filledAndDown()
	before := r.sum()
	// What both copies of the header say of the key slots (one alone is made up for by the other), then the word by which it is
	// recognised, then everything.
	for _, ill := range []qemu.Ill{{Reads: true, Sectors: []int64{8, 40}}, {Reads: true, Sectors: []int64{0}}, readsFail} {
		r.fails(ill)
		want(t, r.stage(), codes.FailedPrecondition, r.serial, "left as it is")
		r.closed()
	}
	if r.sum() != before {
		t.Error("the disk was written to")
	}
	r.heals()
	r.up()
	r.intact(r.target)
	r.down()
}

// TestFormatOfDiskThatRefusesWrites: a format that fails says so and mounts nothing, whether the disk takes no byte of it or
// all but the superblock. When the disk takes them, staging goes on from there.
func TestFormatOfDiskThatRefusesWrites(t *testing.T) {
	for name, c := range map[string]struct {
		fsType string
		ill    qemu.Ill
	}{
		"ext4":              {"ext4", writesFail},
		"xfs":               {"xfs", writesFail},
		"btrfs":             {"btrfs", writesFail},
		"ext4, superblock":  {"ext4", qemu.Ill{Writes: true, Sectors: []int64{2}}},
		"xfs, superblock":   {"xfs", qemu.Ill{Writes: true, Sectors: []int64{0}}},
		"btrfs, superblock": {"btrfs", qemu.Ill{Writes: true, Sectors: []int64{128}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, mounted(c.fsType))
			r.plug()
			node := r.device()
			r.fails(c.ill)
			for range 2 {
				r.refuses(r.stage(), "mkfs."+c.fsType, node)
			}
			if n := r.mounts(); n != 0 {
				t.Errorf("the volume has %d mounts", n)
			}
			r.heals()
			r.up()
			r.fill()
			r.down()
			r.up()
			r.intact(r.target)
			r.down()
		})
	}
}

// TestCheckOfDiskWithErrors: a file system that was not unmounted, or has to be looked at as a whole, is on a disk that
// answers with errors. It is not mounted, nothing of it is given up, and when the disk is well it is checked and used.
func TestCheckOfDiskWithErrors(t *testing.T) {
	for name, c := range map[string]struct {
		fsType string
		// dirty has the disk unplugged under the file system, which leaves it to its journal.
		dirty bool
		ill   func(r *rig) qemu.Ill
		words []string
	}{
		"ext4, refuses writes": {"ext4", true, func(*rig) qemu.Ill { return writesFail }, nil},
		"xfs, refuses writes":  {"xfs", true, func(*rig) qemu.Ill { return writesFail }, []string{"mounting"}},
		"ext4, a table cannot be read": {"ext4", false, func(r *rig) qemu.Ill {
			r.run("tune2fs", "-E", "force_fsck", r.device())
			return qemu.Ill{Reads: true, Sectors: []int64{r.inodeTable()}}
		}, []string{"e2fsck", "input/output error"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, mounted(c.fsType))
			r.plug()
			r.up()
			r.fill()
			if c.dirty {
				r.unplug()
			}
			r.down()
			if c.dirty {
				r.plug()
			}
			node, ill := r.device(), c.ill(r)
			r.fails(ill)
			for range 2 {
				r.refuses(r.stage(), append(c.words, node)...)
			}
			if n := r.mounts(); n != 0 {
				t.Errorf("the volume has %d mounts", n)
			}
			r.heals()
			r.up()
			r.intact(r.target)
			r.down()
			r.sound(c.fsType)
		})
	}
}

// inodeTable is the sector with the first inodes of the ext4 on the disk.
func (r *rig) inodeTable() int64 {
	r.t.Helper()
	about := r.run("dumpe2fs", r.device())
	number := func(form string) int64 {
		match := regexp.MustCompile(form).FindStringSubmatch(about)
		if match == nil {
			r.t.Fatalf("%q is not in: %s", form, about)
		}
		n, err := strconv.ParseInt(match[1], 10, 64)
		r.must(err)
		return n
	}
	return number(`Inode table at (\d+)-`) * number(`Block size: +(\d+)`) / 512
}

// checkers look at a file system that is not mounted, and change nothing.
var checkers = map[string][]string{
	"ext4": {"e2fsck", "-fn"}, "xfs": {"xfs_repair", "-n"}, "btrfs": {"btrfs", "check", "--readonly"},
}

// sound checks that nothing is wrong with the file system on the disk of a volume that is unstaged.
func (r *rig) sound(fsType string) {
	r.t.Helper()
	r.run(slices.Concat(checkers[fsType], []string{r.device()})...)
}

// TestFileSystemFailsUnderAPod: a disk answers a pod with I/O errors until the kernel gives the file system up. Everybody who
// asks is told, and no other pod gets it. When the disk is well and the pod has ended, it is checked and mounted again, with
// all that was on the disk.
func TestFileSystemFailsUnderAPod(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType))
			r.plug()
			r.up()
			r.fill()
			if found := r.health(); len(found) > 0 {
				t.Errorf("wrong with a volume that is well: %v", found)
			}
			p := r.open(r.target, "held")
			r.fails(allFails)
			if errno := p.write("lost"); errno != syscall.EIO {
				t.Errorf("writing to a disk with errors: %v", errno)
			}
			r.givesUp()
			_, err := r.total(r.target)
			want(t, err, codes.Internal, "failed", fsType)
			found := r.health()
			if len(found) == 0 {
				t.Error("nothing is wrong with the volume")
			}
			for _, c := range found {
				switch c.GetReason() {
				case "FileSystemFailed", "BecameReadOnly", "FileSystemErrors":
				default:
					t.Errorf("wrong is %v", c)
				}
			}
			second := r.target + "-second"
			want(t, r.publish(second), codes.FailedPrecondition, "failed", r.target)
			want(t, r.stage(), codes.Unavailable, "failed", r.target) // it is mounted still

			r.heals()
			want(t, r.publish(second), codes.FailedPrecondition, "failed", r.target) // a disk that is well again heals no file system
			p.end()
			r.must(r.unpublish(r.target))
			r.must(r.publish(r.target))
			r.intact(r.target)
			r.write(r.target, "more", "data")
			if found := r.health(); len(found) > 0 {
				t.Errorf("wrong with a volume that was mounted again: %v", found)
			}
			_, err = r.total(r.target)
			r.must(err)
			r.down()
			r.up()
			r.intact(r.target)
			r.wantFile(r.target, "more", "data")
			r.down()
			r.sound(fsType)
		})
	}
}

// givesUp has a pod make files until the kernel knows that it can write nothing down. It is told with one of the first
// changes, and takes that for the file system's failure with the next.
func (r *rig) givesUp() {
	r.t.Helper()
	for i := range 20 {
		if _, err := r.total(r.target); err != nil {
			return
		}
		_ = r.agent.Write(r.soon(), fmt.Sprintf("%s/new%d", r.target, i), nil) // the pod's own trouble
	}
	r.t.Fatal("with 20 new files the kernel did not notice that nothing can be written")
}

// TestUnstagedFromDiskThatRefusesWrites: a pod's last data cannot be written out, which the plugin tells. The volume leaves the node
// all the same, with an error before or without, and has what its pods had flushed.
func TestUnstagedFromDiskThatRefusesWrites(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType))
			r.plug()
			r.up()
			r.fill()
			r.writeLate("late", "never flushed")
			node := r.device()
			r.fails(writesFail)
			r.must(r.unpublish(r.target))
			if err := r.unstage(); err != nil {
				r.refuses(err, node)
				t.Logf("unstaging says: %v", err)
				r.until(r.unstage)
			}
			r.isDown()
			log, err := r.agent.Read(r.soon(), guest.PluginLog)
			r.must(err)
			if told := "What pods wrote last and did not flush may be lost"; !strings.Contains(string(log), told) {
				t.Errorf("the plugin does not say %q", told)
			}
			r.heals()
			r.up()
			r.intact(r.target)
			r.down()
			r.sound(fsType)
		})
	}
}

// writeLate has a pod write a file and end without flushing it.
func (r *rig) writeLate(name, text string) {
	r.t.Helper()
	p := r.open(r.target, name)
	errno, err := r.agent.WriteOpen(r.soon(), p.handle, []byte(text), false)
	r.must(err)
	if errno != 0 {
		r.t.Fatal(errno)
	}
	p.end()
}
