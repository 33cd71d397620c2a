package vm

import (
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/qemu"
)

// The same words, for disks that do not answer.
var (
	readsHang  = readsFail
	writesHang = writesFail
	allHangs   = allFails
)

// bounded is how long a call may take that looks at a volume whose disk does not answer: the plugin's own patience is ten
// seconds for each of two looks, and the guest is slow.
const bounded = time.Minute

func (r *rig) hangs(i qemu.Ill) {
	r.t.Helper()
	r.must(r.machine.Hang(r.soon(), r.disk, i))
}

// pause is between two looks at what goes on in the guest, which tells nothing by itself.
const pause = 100 * time.Millisecond

// meanwhile carries out a call that does not come back at once, and returns where its end comes. As the kubelet does, it
// repeats one that finds another call in its way.
func (r *rig) meanwhile(call func() error) <-chan error {
	ended := make(chan error, 1)
	go func() {
		ended <- repeated(codes.Aborted, call)
	}()
	return ended
}

// says repeats a call until it is Aborted with the words: another call has come as far as these tell.
func (r *rig) says(call func() error, words ...string) {
	r.t.Helper()
	began := time.Now()
	for {
		err := call()
		missing := ""
		for _, w := range words {
			if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), w) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
		if time.Since(began) > callPatience {
			r.t.Fatalf("after %s the answer is still %v, without %q", time.Since(began), err, missing)
		}
		time.Sleep(pause) // the kubelet's back-off
	}
}

// inTime checks that a call came back while its disk did not answer.
func (r *rig) inTime(began time.Time) {
	r.t.Helper()
	if took := time.Since(began); took > bounded {
		r.t.Errorf("it took %s", took)
	}
}

// logged counts the lines of the plugin's log that have all the words.
func (r *rig) logged(words ...string) int {
	r.t.Helper()
	log, err := r.agent.Read(r.soon(), guest.PluginLog)
	r.must(err)
	count := 0
lines:
	for line := range strings.Lines(string(log)) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		count++
	}
	return count
}

// TestDiskThatDoesNotAnswer: nothing can be read of a disk. The call to stage ends when its time is over, those that follow
// say what is under way, the node and its other volumes are well, and when the disk answers, it is formatted and used.
func TestDiskThatDoesNotAnswer(t *testing.T) {
	r, other := newRig(t, mounted("ext4")), newRig(t, mounted("xfs"))
	r.plug()
	r.device()
	r.hangs(allHangs)
	began := time.Now()
	want(t, r.stageWithin(5*time.Second), codes.DeadlineExceeded)
	want(t, r.stage(), codes.Aborted, "NodeStageVolume", r.id, "still under way")
	want(t, r.publish(r.target), codes.Aborted, "NodeStageVolume")
	want(t, r.unstage(), codes.Aborted, "NodeStageVolume")
	r.inTime(began)

	other.plug()
	other.up()
	other.fill()
	other.intact(other.target)
	other.down()
	resp, err := r.NodeGetStorageHealth(r.soon(), &csi.NodeGetStorageHealthRequest{})
	r.must(err)
	if wrong := resp.GetBackendHealth(); len(wrong) > 0 {
		t.Errorf("one disk that does not answer, and the node is not well: %v", wrong)
	}

	r.heals()
	r.until(r.stage)
	r.must(r.publish(r.target))
	r.fill()
	r.down()
	r.up()
	r.intact(r.target)
	r.down()
}

// TestFormatHangs: a disk takes no write of mkfs. Whoever asks for the volume is told what is running and since when, and
// when the disk takes it, the format that was begun is the only one.
func TestFormatHangs(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType))
			r.plug()
			node := r.device()
			r.hangs(writesHang)
			staged := r.meanwhile(r.stage)
			r.says(func() error { return r.publish(r.target) }, "mkfs."+fsType, node, "running for")
			want(t, r.stage(), codes.Aborted, "mkfs."+fsType)
			want(t, r.unstage(), codes.Aborted, "mkfs."+fsType)
			r.heals()
			r.must(<-staged)
			if n := r.logged("Making a file system", r.id); n != 1 {
				t.Errorf("a file system was made %d times", n)
			}
			r.must(r.publish(r.target))
			r.fill()
			r.down()
			r.up()
			r.intact(r.target)
			r.down()
			r.sound(fsType)
		})
	}
}

// TestCheckHangs: a file system was not unmounted, and its disk takes no write of e2fsck.
func TestCheckHangs(t *testing.T) {
	r := newRig(t, mounted("ext4"))
	r.plug()
	r.up()
	r.fill()
	r.unplug()
	r.down()
	r.plug()
	node := r.device()
	r.hangs(writesHang)
	staged := r.meanwhile(r.stage)
	r.says(func() error { return r.publish(r.target) }, "e2fsck", node, "running for")
	want(t, r.unstage(), codes.Aborted, "e2fsck")
	r.heals()
	r.must(<-staged)
	r.must(r.publish(r.target))
	r.intact(r.target)
	r.down()
	r.sound("ext4")
}

// TestPublishHangs: what pods wrote last cannot be written down, so nobody knows whether the file system works. Another pod
// does not get it, and is told so in time; when the disk answers, it does.
func TestPublishHangs(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType))
			r.plug()
			r.up()
			r.fill()
			r.hangs(writesHang)
			r.writeLate("late", "written late")
			second := r.target + "-second"
			began := time.Now()
			want(t, r.publish(second), codes.Unavailable, "has not answered", r.serial)
			r.inTime(began)
			r.heals()
			r.until(func() error { return r.publish(second) })
			r.intact(second)
			r.wantFile(second, "late", "written late")
			r.must(r.unpublish(second))
			r.down()
			r.up()
			r.intact(r.target)
			r.wantFile(r.target, "late", "written late")
			r.down()
		})
	}
}

// TestHealthHangs: not even the root of a file system can be read. That is said of the volume in time, and no longer when
// the disk answers.
func TestHealthHangs(t *testing.T) {
	r := newRig(t, mounted("ext4")) // which reads its root from the disk
	r.plug()
	r.filledAndDown()
	r.up()
	r.run("blockdev", "--flushbufs", r.device()) // what was read is forgotten
	r.hangs(readsHang)
	began := time.Now()
	found := r.health()
	r.inTime(began)
	if len(found) != 1 || found[0].GetReason() != "NotAnswering" || found[0].GetStatus() != csi.VolumeHealthErrorType_INACCESSIBLE {
		t.Errorf("wrong with it is %v", found)
	}
	began = time.Now()
	_, err := r.total(r.target)
	want(t, err, codes.Unavailable, "has not answered", r.id)
	r.inTime(began)
	r.heals()
	r.until(func() error {
		_, err := r.total(r.target)
		return err
	})
	if found := r.health(); len(found) > 0 {
		t.Errorf("wrong with a volume whose disk answers: %v", found)
	}
	r.intact(r.target)
	r.down()
}

// TestUnstageHangs: what a pod wrote last cannot be written out. The volume does not leave the node before it is, and other
// calls for it say what they wait for.
func TestUnstageHangs(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType))
			r.plug()
			r.up()
			r.fill()
			r.hangs(writesHang)
			r.writeLate("late", "written late")
			r.must(r.unpublish(r.target))
			unstaged := r.meanwhile(r.unstage)
			r.says(r.stage, "NodeUnstageVolume", r.id, "still under way")
			want(t, r.publish(r.target), codes.Aborted, "NodeUnstageVolume")
			select {
			case err := <-unstaged:
				t.Fatalf("it is unstaged, and nothing was written: %v", err)
			default:
			}
			r.heals()
			r.must(<-unstaged)
			r.isDown()
			r.up()
			r.intact(r.target)
			r.wantFile(r.target, "late", "written late")
			r.down()
			r.sound(fsType)
		})
	}
}

// TestDiskAnswersAfterHalfAMinute: each of the kubelet's calls has a disk that answers nothing for 30 s, where the call is about
// to read what is on the disk, in the middle of a format, of a check, of a publication, or of unstaging. The kubelet waits two
// minutes for a call, and repeats one that says that it does not know: it takes longer, and that is all.
func TestDiskAnswersAfterHalfAMinute(t *testing.T) {
	const latency, kubelet = 30 * time.Second, 2 * time.Minute
	ext4 := func() *rig { return newRig(t, mounted("ext4")) }
	read, format, check, publication, unstaging := ext4(), ext4(), ext4(), ext4(), ext4()
	check.plug()
	check.up()
	check.fill()
	check.unplug() // which leaves something to be checked
	check.down()
	for _, r := range []*rig{publication, unstaging} {
		r.plug()
		r.up()
		r.fill()
	}
	all := []*rig{read, format, check, publication, unstaging}
	for _, r := range all {
		if !r.disk.Plugged() {
			r.plug()
		}
		r.device()
		r.hangs(writesHang)
	}
	read.hangs(allHangs)
	check.hangs(allHangs)
	publication.writeLate("late", "written late")
	unstaging.writeLate("late", "written late")
	unstaging.must(unstaging.unpublish(unstaging.target))
	second := publication.target + "-second"
	began := time.Now()
	var ends []<-chan error
	for _, call := range []func() error{
		func() error { return read.stageWithin(kubelet) },
		func() error { return format.stageWithin(kubelet) },
		func() error { return check.stageWithin(kubelet) },
		func() error { return repeated(codes.Unavailable, func() error { return publication.publish(second) }) },
		unstaging.unstage,
	} {
		ends = append(ends, read.meanwhile(call))
	}
	time.Sleep(latency) // which is the disks'
	for _, r := range all {
		r.heals()
	}
	for i, end := range ends {
		if err := <-end; err != nil {
			t.Errorf("the call for %s, which is number %d: %v", all[i].serial, i, err)
		}
	}
	if took := time.Since(began); took < latency || took > kubelet {
		t.Errorf("the calls took %s", took)
	}
	publication.wantFile(second, "late", "written late")
	publication.must(publication.unpublish(second))
	for _, r := range []*rig{read, format} {
		r.must(r.publish(r.target))
		r.fill()
	}
	check.must(check.publish(check.target))
	unstaging.up()
	unstaging.wantFile(unstaging.target, "late", "written late")
	for _, r := range all {
		r.intact(r.target)
		r.down()
		r.sound("ext4")
	}
}

// repeated carries out a call, and again as the kubelet does as long as its answer has the code, but not for ever.
func repeated(code codes.Code, call func() error) error {
	began := time.Now()
	for {
		err := call()
		if status.Code(err) != code || time.Since(began) > callPatience {
			return err
		}
		time.Sleep(pause) // the kubelet's back-off
	}
}
