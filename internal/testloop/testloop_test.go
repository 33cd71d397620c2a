package testloop

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
)

func TestMain(m *testing.M) { testns.Main(m) }

// TestReadOnlyFlag: a number's flag is neither taken over nor handed on. Others compete for free numbers, so it is tried
// until the number with the flag is the one that comes back.
func TestReadOnlyFlag(t *testing.T) {
	testns.NeedDisks(t)
	plainly := func(image string) (string, error) { return losetup("--find", "--show", image) }
	for name, c := range map[string]struct {
		detach func(dev string) error
		attach func(image string) (string, error)
	}{
		"left by somebody": {
			func(dev string) error { _, err := losetup("--detach", dev); return err },
			func(image string) (string, error) { return Attach(image) },
		},
		"left to somebody": {Detach, plainly},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			must(t, os.WriteFile(image, make([]byte, 1<<20), 0o600))
			for left, again := "", "none"; left != again; {
				var err error
				left, err = plainly(image)
				must(t, err)
				control(t, left, unix.BLKROSET, 1)
				must(t, c.detach(left))
				again, err = c.attach(image)
				must(t, err)
				readOnly := control(t, again, unix.BLKROGET, 0) != 0
				must(t, Detach(again))
				if readOnly {
					t.Fatalf("%s was read-only", again)
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// control sets a flag of a device, or gets one.
func control(t *testing.T, dev string, request uint, value int) int {
	t.Helper()
	f, err := os.Open(dev) //nolint:gosec // a test's
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // carries no data
	if request == unix.BLKROSET {
		err = unix.IoctlSetPointerInt(int(f.Fd()), request, value)
	} else {
		value, err = unix.IoctlGetInt(int(f.Fd()), request)
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}
