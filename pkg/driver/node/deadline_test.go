package node_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// halting puts tools in front of the real ones that stand still before and after their work, until they are told to go on.
type halting struct {
	t    *testing.T
	dir  string
	bin  string
	gate *os.File // each line in it lets one tool go on
	// stops has a place for each time a tool stands still: "before" or "after", and its name.
	stops chan string
}

func newHalting(t *testing.T, names ...string) *halting {
	t.Helper()
	h := &halting{t: t, dir: t.TempDir(), stops: make(chan string)}
	h.bin = filepath.Join(h.dir, "bin")
	if err := os.Mkdir(h.bin, 0o700); err != nil {
		t.Fatal(err)
	}
	h.gate = h.fifo("gate")
	events := bufio.NewScanner(h.fifo("events")) // until it is closed
	go func() {
		for events.Scan() {
			select {
			case h.stops <- events.Text():
			case <-t.Context().Done():
				return
			}
		}
	}()
	for _, name := range names {
		h.replace(name)
	}
	t.Setenv("PATH", h.bin+":"+os.Getenv("PATH"))
	return h
}

// fifo makes a pipe with a name and keeps it open, so that no line is lost between two that open it.
func (h *halting) fifo(name string) *os.File {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		h.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = f.Close() }) // nobody waits for it any more
	return f
}

// replace puts a script in the place of a tool. When it is told to end, the real one is killed at once, which is the worst
// that can happen to what it works on.
func (h *halting) replace(name string) {
	h.t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		h.t.Fatal(err)
	}
	// Without a trap while it stands still: of one a shell thinks when its read has come back, and one that comes right before
	// the read is too late.
	script := fmt.Sprintf(`#!/bin/sh
halt() { [ -e %[1]s/free ] || { echo "$1 %[2]s" > %[1]s/events; read go < %[1]s/gate; }; }
halt before
trap 'kill -9 $tool 2> /dev/null; exit 143' TERM
%[3]s "$@" & tool=$!
wait $tool; code=$?
trap - TERM
halt after
exit $code
`, h.dir, name, found)
	if err := os.WriteFile(filepath.Join(h.bin, name), []byte(script), 0o700); err != nil {
		h.t.Fatal(err)
	}
}

func (h *halting) goOn() {
	h.t.Helper()
	if _, err := h.gate.WriteString("go\n"); err != nil {
		h.t.Fatal(err)
	}
}

// free lets all tools go on from now on.
func (h *halting) free() {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "free"), nil, 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.goOn()
}

// cutAt makes a call and ends it when a tool stands still for the nth time, while it does. It returns where that was, ""
// when the call came to its end before.
func (h *halting) cutAt(n int, call func(context.Context) error) (place string, err error) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- call(ctx) }()
	for i := 1; ; i++ {
		select {
		case err := <-ended:
			return "", err
		case place := <-h.stops:
			if i == n {
				cancel()
				return place, <-ended
			}
			h.goOn()
		}
	}
}

// TestGrowthUnderAnyDeadline: an ext4 that the kernel does not grow while it is mounted is grown unmounted. Whenever the
// deadline is, before, after or while a tool works, no tool that changes something is cut off, and a retry brings the growth
// to its end.
func TestGrowthUnderAnyDeadline(t *testing.T) {
	var places []string
	for n := 1; ; n++ {
		place := ""
		t.Run(fmt.Sprint("stop ", n), func(t *testing.T) { place = growthCutAt(t, n) })
		if place == "" {
			break
		}
		places = append(places, place)
	}
	for _, tool := range []string{"blkid", "e2fsck", "resize2fs"} {
		if !slices.Contains(places, "before "+tool) || !slices.Contains(places, "after "+tool) {
			t.Errorf("it was not cut off at %s but at %q", tool, places)
		}
	}
}

// growthCutAt grows a file system, at the nth stop in a call that ends there.
func growthCutAt(t *testing.T, n int) (place string) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	path := r.machine.Device(serial).Path
	// Without room for its growth, so that tables have to be moved.
	r.run("mkfs.ext4", "-q", "-O", "^resize_inode", "-b", "1024", path, "200M")
	h := newHalting(t, "blkid", "e2fsck", "resize2fs")
	request := r.stageRequest(mountCapability(writer, "ext4"))
	place, err := h.cutAt(n, func(ctx context.Context) error {
		_, err := r.NodeStageVolume(ctx, request)
		return err
	})
	switch {
	case place == "":
		r.must(err)
	case strings.HasSuffix(place, "blkid"): // which only reads
		want(t, err, codes.Canceled)
	default:
		_, tool, _ := strings.Cut(place, " ")
		want(t, err, codes.Aborted, tool, "running for")
	}
	h.free()
	r.must(r.stage(mountCapability(writer, "ext4")))
	if size := r.size(r.staging); size < 7*gib/8 {
		t.Errorf("cut off %s, it has %d bytes", place, size)
	}
	r.must(r.unstage())
	if out, err := exec.Command("e2fsck", "-f", "-n", path).CombinedOutput(); err != nil {
		t.Errorf("cut off %s: %v: %s", place, err, out)
	}
	return place
}
