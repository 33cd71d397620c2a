package device_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
)

// TestReleaseFlushes: what was written to a raw device is on the disk afterwards, past the disk's own cache, and nothing
// of it stays in this machine's cache, even when somebody still has the device open.
func TestReleaseFlushes(t *testing.T) {
	m := testmachine.New(t)
	m.Plug("disk", "ewr-ae6c4452b93b4f", 64<<20)
	d := m.Device("ewr-ae6c4452b93b4f")
	dir := filepath.Join("/sys/dev/block", d.Number.String())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	flushes := func() int {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(dir, "stat"))
		must(err)
		fields := strings.Fields(string(raw))
		n, err := strconv.Atoi(fields[15])
		must(err)
		return n
	}
	pod, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	must(err)
	defer pod.Close()
	_, err = pod.WriteAt([]byte("data"), 0)
	must(err)
	before := flushes()
	must(device.Release(t.Context(), d, time.Second))
	if flushes() == before {
		t.Error("the disk was not told to flush its cache")
	}

	backing, err := os.ReadFile(filepath.Join(dir, "loop", "backing_file"))
	must(err)
	below, err := os.OpenFile(strings.TrimSpace(string(backing)), os.O_RDWR, 0)
	must(err)
	got := make([]byte, 4)
	_, err = below.ReadAt(got, 0)
	must(err)
	if string(got) != "data" {
		t.Errorf("on the disk is %q", got)
	}
	_, err = below.WriteAt([]byte("more"), 0) // as another machine does
	must(errors.Join(err, below.Sync(), below.Close()))
	_, err = pod.ReadAt(got, 0)
	must(err)
	if string(got) != "more" {
		t.Errorf("read is %q, which is what was in the cache", got)
	}
}
