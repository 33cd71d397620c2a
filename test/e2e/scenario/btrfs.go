package scenario

import (
	"context"
	"fmt"
	"net/http"
	"os"
)

// btrfsClass is block storage with btrfs, which is nobody's default.
const btrfsClass = "demo-btrfs"

// btrfsLives takes a btrfs that is written to through a snapshot, restored beside its source, where the kernel takes two of one
// UUID for one file system, and on the other node; then it grows the source while its pod uses it.
func btrfsLives(ctx context.Context, w *World) (string, error) {
	why, err := btrfsTwiceRefused()
	if err != nil {
		return "", err
	}
	if why != "" {
		return "", &SkippedError{Why: why}
	}
	parameters := map[string]string{"storage_type": "block", "disk_type": "nvme", "csi.storage.k8s.io/fstype": "btrfs"}
	if err := w.createClass(ctx, btrfsClass, parameters); err != nil {
		return "", err
	}
	restored, err := snapshotRestored(ctx, w, btrfsClass)
	if err != nil {
		return "", err
	}
	source, err := w.readyPod(ctx, sourceClaim, "")
	if err != nil {
		return "", err
	}
	if err := w.isFileSystem(ctx, sourceClaim, "btrfs"); err != nil {
		return "", err
	}
	before, err := w.askLong(ctx, http.MethodGet, podURL(source)+"/bulk")
	if err != nil {
		return "", err
	}
	size, err := w.growsInUse(ctx, source, sourceClaim)
	if err != nil {
		return "", err
	}
	if err := w.hasBulk(ctx, source, "", before); err != nil {
		return "", fmt.Errorf("after it has grown: %w", err)
	}
	return fmt.Sprintf("%s; the source grew in use to %d MiB", restored, size>>20), nil
}

// btrfsTwiceRefused says why this kernel mounts no copy of a btrfs beside its source, "" if it does.
func btrfsTwiceRefused() (string, error) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("the kernel's release %q: %w", release, err)
	}
	if major > 6 || major == 6 && minor >= 7 {
		return "", nil
	}
	return fmt.Sprintf("this kernel, Linux %d.%d, mounts a btrfs only once; from 6.7 on a copy can be beside its source", major, minor), nil
}

// isFileSystem checks which file system the volume of a claim has been given.
func (w *World) isFileSystem(ctx context.Context, claim, want string) error {
	volume, err := w.volumeOf(ctx, claim)
	if err != nil {
		return err
	}
	if got := volume.Spec.CSI.FSType; got != want {
		return fmt.Errorf("the volume %s has the file system %q, not %q", volume.Name, got, want)
	}
	return nil
}
