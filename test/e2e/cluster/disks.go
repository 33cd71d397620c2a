package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/loop"
)

// CloudDisk is a block storage volume as the API shows it.
type CloudDisk struct {
	ID         string `json:"id"`
	Label      string `json:"label"`
	Serial     string `json:"mount_id"`
	SizeGB     int    `json:"size_gb"`
	Status     string `json:"status"`
	AttachedTo string `json:"attached_to_instance"`
}

// Disks lists the block storage volumes in the cloud.
func (c *Cluster) Disks(ctx context.Context) ([]CloudDisk, error) {
	var answer struct {
		Blocks []CloudDisk `json:"blocks"`
	}
	err := c.Cloud.Get(ctx, "/v2/blocks?per_page=500", &answer)
	return answer.Blocks, err
}

// CloudSnapshot is a snapshot of a block storage volume as the API shows it.
type CloudSnapshot struct {
	ID          string `json:"id"`
	BlockID     string `json:"block_id"`
	Description string `json:"description"`
	State       string `json:"state"`
	Size        int64  `json:"size"`
}

// Snapshots lists the snapshots in the cloud.
func (c *Cluster) Snapshots(ctx context.Context) ([]CloudSnapshot, error) {
	var answer struct {
		Snapshots []CloudSnapshot `json:"snapshots"`
	}
	err := c.Cloud.Get(ctx, "/v2/blocks/snapshots?per_page=500", &answer)
	return answer.Snapshots, err
}

// CloudFileSystem is a shared file system as the API shows it.
type CloudFileSystem struct {
	ID    string `json:"id"`
	Label string `json:"label"`
}

// FileSystems lists the shared file systems in the cloud.
func (c *Cluster) FileSystems(ctx context.Context) ([]CloudFileSystem, error) {
	var answer struct {
		FileSystems []CloudFileSystem `json:"vfs"`
	}
	err := c.Cloud.Get(ctx, "/v2/vfs?per_page=500", &answer)
	return answer.FileSystems, err
}

// image is the backing file of a disk.
func (c *Cluster) image(d CloudDisk) string { return c.run.path("cloud", "disks", d.ID+".img") }

// LoopDevices tells by which loop devices disks of this cluster's cloud are plugged,
// and how many there are for each disk; a disk that does not exist any more counts
// as its file does.
func (c *Cluster) LoopDevices(ctx context.Context) (byDisk map[string]int, all int, err error) {
	disks, err := c.Disks(ctx)
	if err != nil {
		return nil, 0, err
	}
	files, err := loop.Files(c.run.path("cloud"))
	if err != nil {
		return nil, 0, err
	}
	devices, err := loop.List()
	if err != nil {
		return nil, 0, err
	}
	// The kubelet's own, on top of raw block volumes, are none of the cloud's.
	mine := slices.DeleteFunc(loop.Backed(files, devices), func(d loop.Device) bool { return d.On != 0 })
	byDisk = map[string]int{}
	for _, disk := range disks {
		var stat unix.Stat_t
		if err := unix.Stat(c.image(disk), &stat); err != nil {
			return nil, 0, &os.PathError{Op: "stat", Path: c.image(disk), Err: err}
		}
		for _, d := range mine {
			if d.File == (loop.File{Device: stat.Dev, Inode: stat.Ino}) {
				byDisk[disk.ID]++
			}
		}
	}
	return byDisk, len(mine), nil
}

// CheckXFS reads a whole file system, which nobody may have mounted, and finds any
// fault of it; it writes nothing.
func (c *Cluster) CheckXFS(ctx context.Context, d CloudDisk) error {
	if _, err := os.Stat(c.image(d)); errors.Is(err, fs.ErrNotExist) {
		return err // the program would only say that it cannot open something
	}
	_, err := c.outer.Run(ctx, "xfs_repair", "-n", "-f", c.image(d))
	return err
}

// FailXFS has the kernel shut down the xfs of a volume that is staged on an instance's machine, after it has written its log:
// from then on every access is answered with an input/output error, as when the disk is gone.
func (c *Cluster) FailXFS(ctx context.Context, i CloudInstance, driver, volumeHandle string) error {
	m, err := recall(c.run, c.config, i.ID)
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("the instance %s has no machine", i.ID)
	}
	// Where the kubelet has the driver stage it.
	sum := sha256.Sum256([]byte(volumeHandle))
	staged := path.Join("/var/lib/kubelet/plugins/kubernetes.io/csi", driver, hex.EncodeToString(sum[:]), "globalmount")
	_, err = m.client.Run(ctx, "xfs_io", "-x", "-c", "shutdown -f", staged)
	return err
}
