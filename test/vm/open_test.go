package vm

import (
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
)

// TestUnpluggedUnderOpenFile: a disk is unplugged while a pod has a file open and writes to it. The pod gets errors, and
// with it whoever asks for the volume; when the pod is restarted it has the disk again, with what it had flushed.
func TestUnpluggedUnderOpenFile(t *testing.T) {
	for _, fsType := range []string{"xfs", "ext4"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType))
			r.plug()
			r.must(r.stage())
			r.must(r.publish(r.target))
			p := r.open(r.target, "file")
			if errno := p.write("flushed"); errno != 0 {
				t.Fatal(errno)
			}
			r.unplug()
			if errno := p.write("lost"); errno != syscall.EIO {
				t.Errorf("writing to a disk that is gone: %v", errno)
			}
			_, err := r.total(r.target)
			want(t, err, codes.FailedPrecondition, "unplugged")
			_, err = r.expand(r.target, gib)
			want(t, err, codes.FailedPrecondition, "unplugged")
			second := r.target + "-second"
			want(t, r.publish(second), codes.FailedPrecondition, r.serial)

			r.plug()
			r.device()
			// The pod still runs, on what is gone.
			if errno := p.write("lost"); errno != syscall.EIO {
				t.Errorf("writing to the old disk when it is back: %v", errno)
			}
			_, err = r.total(r.target)
			want(t, err, codes.FailedPrecondition, "unplugged")

			p.end()
			r.must(r.unpublish(r.target))
			r.must(r.publish(second))
			r.wantFile(second, "file", "flushed")
			r.write(second, "more", "data")
			_, err = r.total(second)
			r.must(err)
			r.must(r.unpublish(second))
			r.must(r.unstage())
		})
	}
}

// TestOldPodOutlivesReplug: the disk is back, and a process of the old pod still has a file of the old mount open.
func TestOldPodOutlivesReplug(t *testing.T) {
	for _, fsType := range []string{"xfs", "ext4"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType))
			r.plug()
			r.must(r.stage())
			r.must(r.publish(r.target))
			r.write(r.target, "file", "data")
			p := r.open(r.target, "held")
			r.unplug()
			r.plug()
			r.device()
			// It is in nobody's way: what it wrote is lost, and it holds no more than what is gone.
			r.must(r.publish(r.target))
			r.wantFile(r.target, "file", "data")
			r.write(r.target, "more", "data")
			if errno := p.write("lost"); errno != syscall.EIO {
				t.Errorf("writing to the old disk when it is back: %v", errno)
			}
			p.end()
			r.must(r.stage())
			r.must(r.publish(r.target))
			r.wantFile(r.target, "more", "data")
			if n := r.mounts(); n != 2 {
				t.Errorf("the volume has %d mounts", n)
			}
		})
	}
}

// TestUnpluggedWhileWrittenTo: the disk goes while a pod writes. Everything that the kernel called written is there when the
// disk is back.
func TestUnpluggedWhileWrittenTo(t *testing.T) {
	const line = "0123456789abcde\n"
	for _, fsType := range []string{"xfs", "ext4"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType))
			r.plug()
			r.must(r.stage())
			r.must(r.publish(r.target))
			p := r.open(r.target, "file")
			begun, ended := make(chan struct{}), make(chan syscall.Errno)
			written := 0
			go func() {
				for {
					errno, err := shared.agent.WriteOpen(r.soon(), p.handle, []byte(line), true)
					if err != nil || errno != 0 {
						ended <- errno
						return
					}
					if written++; written == 20 {
						close(begun)
					}
				}
			}()
			select {
			case <-begun:
			case errno := <-ended:
				t.Fatalf("after %d lines: %v", written, errno)
			}
			r.unplug()
			if errno := <-ended; errno != syscall.EIO {
				t.Errorf("the pod was told: %v", errno)
			}
			want(t, r.publish(r.target), codes.FailedPrecondition, r.serial)
			_, err := r.total(r.target)
			want(t, err, codes.FailedPrecondition, "unplugged")
			p.end()
			r.must(r.unpublish(r.target))

			r.plug()
			r.device()
			r.must(r.publish(r.target))
			got, err := shared.agent.Read(r.soon(), r.target+"/file")
			r.must(err)
			if want := strings.Repeat(line, written); !strings.HasPrefix(string(got), want) {
				t.Errorf("%d bytes were written, %d are there", len(want), len(got))
			}
		})
	}
}
