package node_test

import (
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// holder keeps what is open on an encrypted disk in use, from the moment in which a cryptsetup begins that could close it.
type holder struct {
	r *encryptedRig

	mu   sync.Mutex
	file *os.File
	over bool
}

func (h *holder) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file != nil || h.over {
		return
	}
	all, err := h.r.machine.Mappers("")
	if err == nil && len(all) > 0 {
		h.file, err = os.OpenFile(all[0].Path, os.O_RDONLY|unix.O_EXCL, 0)
	}
	if err != nil {
		h.r.t.Errorf("holding what is open: %v", err)
	}
}

// end releases it, and reports whether it was held.
func (h *holder) end() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.file == nil {
		return false
	}
	h.r.must(h.file.Close())
	return true
}

// TestFailedStageThatIsNotClosed: a stage fails for good after it has opened the disk. If that can be closed again, the code
// says what is wrong; if not, it is one after which the kubelet unstages the volume, and that closes it.
func TestFailedStageThatIsNotClosed(t *testing.T) {
	r := newEncryptedRig(t, mountCapability(writer, "ext4"))
	r.up()
	r.down()
	r.capability = mountCapability(writer, "xfs")
	want(t, r.stage(), codes.FailedPrecondition, "ext4", "xfs")
	r.closed()

	h := &holder{r: r}
	r.program.Watch(t, h.look)
	err := r.stage()
	if !h.end() {
		t.Fatal("nothing was held, so this test shows nothing")
	}
	want(t, err, codes.Unavailable, "ext4", "xfs", "not closed")
	r.must(r.unstage())
	r.closed()
}
