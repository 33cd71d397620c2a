package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
)

// smallDisk puts the state on a file system of a few megabytes, and returns what fills it to the last byte and what makes
// room again.
func smallDisk(t *testing.T, state string) (fill, free func()) {
	t.Helper()
	testns.Need(t)
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(state, 0); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(state, "filler")
	fill = func() {
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, 8<<20)); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return fill, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
}

// status sends a request and returns the status and the body of the answer.
func status(t *testing.T, method, url, body string) (code int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer test")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// TestDiskFullWhileRunning: what cannot be kept is refused, what was kept stays readable, and everything goes on when
// there is room again. The end takes everything away although the disk is full.
func TestDiskFullWhileRunning(t *testing.T) {
	needsRoot(t)
	state := t.TempDir()
	fill, free := smallDisk(t, state)
	p := launch(t, "--state="+state, "--time-scale=0.01", "--balancers=off")
	attachedDisk(t, p, state)
	const wanted = `{"region":"ewr","size_gb":10,"block_type":"high_perf","label":"late"}`
	fill()
	refused := 0
	for range 50 { // what the file has room for it still takes
		code, text := status(t, http.MethodPost, p.api+"/blocks", wanted)
		switch {
		case code == http.StatusInternalServerError && strings.Contains(text, `"status":500`):
			refused++
		case code != http.StatusAccepted:
			t.Fatalf("%d %s", code, text)
		}
	}
	if refused == 0 {
		t.Fatal("nothing was refused")
	}
	before := p.view()
	if len(before.Blocks) != 51-refused {
		t.Errorf("%d volumes, %d of 50 were refused", len(before.Blocks), refused)
	}
	if !strings.Contains(p.out.String(), "no space left on device") {
		t.Errorf("the log does not say why:\n%s", p.out)
	}
	free()
	if code, text := status(t, http.MethodPost, p.api+"/blocks", wanted); code != http.StatusAccepted {
		t.Errorf("with room again: %d %s", code, text)
	}
	p.await("all volumes to be active", func() bool {
		for _, b := range p.view().Blocks {
			if !b.Active {
				return false
			}
		}
		return true
	})
	fill()
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	if left := loopsOf(t, state); len(left) != 0 {
		t.Errorf("loop devices are left: %v", left)
	}
	if left := mountsBelow(t, state); len(left) != 0 {
		t.Errorf("mounts are left: %v", left)
	}
	free()
	p = launch(t, "--state="+state, "--time-scale=0.01", "--balancers=off")
	if after := p.view(); len(after.Blocks) != len(before.Blocks)+1 {
		t.Errorf("%d volumes after the next start, want %d", len(after.Blocks), len(before.Blocks)+1)
	}
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
}
