package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/csiprocess"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/qemu"
)

const (
	platformRegion = "ewr"
	// platformScale is that of the platform's delays: a guest takes seconds to give a disk back, however fast the cloud is.
	platformScale = 0.2
)

// platform is a simulated cloud whose instances are guests, and the driver's controller on it: what the controller attaches by
// the API is plugged into a guest.
type platform struct {
	csi.ControllerClient

	t     *testing.T
	cloud *simtest.Cloud
	// instances are the guests' IDs on the platform.
	instances []string
	// content is where shared file systems have theirs.
	content string

	mu     sync.Mutex
	guests map[string]*box // by the instance
	disks  map[string]*qemu.Disk
	// snapshots are disks that are never plugged in. sizes are of both.
	snapshots map[string]*qemu.Disk
	sizes     map[string]int64
	at        map[string]string // the instance of a disk that is plugged in
	shares    map[simulator.FileSystemAttachment]*qemu.Share
}

// newPlatform starts a cloud with the guests, and the controller. What the test leaves is taken from the guests after it.
func newPlatform(t *testing.T, guests ...*box) *platform {
	t.Helper()
	p := &platform{
		t: t, content: t.TempDir(), guests: map[string]*box{}, disks: map[string]*qemu.Disk{}, snapshots: map[string]*qemu.Disk{},
		sizes: map[string]int64{}, at: map[string]string{}, shares: map[simulator.FileSystemAttachment]*qemu.Share{},
	}
	t.Cleanup(p.close) // after the cloud's own end
	p.cloud = simtest.Start(t, simtest.Options{Config: simulator.Config{Disks: guestDisks{p}, FileSystems: guestShares{p}, TimeScale: platformScale}})
	for i, b := range guests {
		id := p.cloud.AddInstance(simulator.NewServer{Label: fmt.Sprintf("guest-%d", i), Region: platformRegion})
		p.instances = append(p.instances, id)
		p.mu.Lock()
		p.guests[id] = b
		p.mu.Unlock()
	}
	dir := t.TempDir()
	binary, err := csiprocess.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := csiprocess.Driver{Binary: binary, Socket: filepath.Join(dir, "c.sock"), Env: []string{"VULTR_API_KEY=" + p.cloud.Key}, Args: []string{
		"--mode=controller", "--api-key-file=/nonexistent", "--api-url=" + p.cloud.URL, "--region=" + platformRegion,
		fmt.Sprintf("--platform-time-scale=%g", platformScale),
	}}
	csiprocess.Start(t, d)
	p.ControllerClient = csi.NewControllerClient(csiprocess.Dial(t, d.Socket))
	return p
}

// close takes from the guests what they still have.
func (p *platform) close() {
	ctx, cancel := context.WithTimeout(context.Background(), callPatience)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, instance := range p.at {
		if err := p.guests[instance].machine.Unplug(ctx, p.disks[id]); err != nil {
			p.t.Errorf("disk %s: %v", id, err)
		}
	}
	for at, share := range p.shares {
		if err := share.Detach(ctx); err != nil {
			p.t.Errorf("file system %s: %v", at.ID, err)
		}
	}
	for _, all := range []map[string]*qemu.Disk{p.disks, p.snapshots} {
		for id, d := range all {
			if err := d.Close(); err != nil {
				p.t.Errorf("disk %s: %v", id, err)
			}
		}
	}
}

// guest returns the guest that is an instance. The lock is held.
func (p *platform) guest(instance string) (*box, error) {
	b := p.guests[instance]
	if b == nil {
		return nil, errors.New("no guest is instance " + instance)
	}
	return b, nil
}

// guestDisks are the platform's disks.
type guestDisks struct{ *platform }

// Ensure makes a disk. One that is plugged in grows when its guest is told.
func (g guestDisks) Ensure(_ context.Context, id string, size int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.disks[id] == nil {
		d, err := qemu.NewDisk("", size)
		if err != nil {
			return err
		}
		g.disks[id] = d
	}
	g.sizes[id] = max(g.sizes[id], size)
	return nil
}

// Plug plugs a disk into the guest.
func (g guestDisks) Plug(ctx context.Context, id, serial, instance string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	d, there := g.disks[id], g.at[id]
	b, err := g.guest(instance)
	switch {
	case err != nil:
		return err
	case d == nil:
		return simulator.ErrNoDisk
	case there == instance:
		return nil
	case there != "":
		return fmt.Errorf("disk %s is plugged into instance %s", id, there)
	}
	d.Serial = serial
	if err := d.Resize(g.sizes[id]); err != nil {
		return err
	}
	if err := b.machine.Plug(ctx, d); err != nil {
		return err
	}
	g.at[id] = instance
	return nil
}

// Unplug takes a disk from the guest, which gives it back even if a pod has it.
func (g guestDisks) Unplug(ctx context.Context, id, instance string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at[id] != instance {
		return nil
	}
	b, err := g.guest(instance)
	if err != nil {
		return err
	}
	if err := b.machine.Unplug(ctx, g.disks[id]); err != nil {
		return err
	}
	delete(g.at, id)
	return nil
}

// Refresh tells the guest of the disk's size.
func (g guestDisks) Refresh(ctx context.Context, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at[id] == "" {
		return nil
	}
	b, err := g.guest(g.at[id])
	if err != nil {
		return err
	}
	return b.machine.Resize(ctx, g.disks[id], g.sizes[id])
}

// Remove throws a disk away.
func (g guestDisks) Remove(_ context.Context, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at[id] != "" {
		return simulator.ErrPlugged
	}
	return g.drop(g.disks, id)
}

// drop throws a disk or a snapshot away.
func (g guestDisks) drop(from map[string]*qemu.Disk, id string) error {
	d := from[id]
	if d == nil {
		return nil
	}
	delete(from, id)
	delete(g.sizes, id)
	return d.Close()
}

// Plugged lists what is plugged in.
func (g guestDisks) Plugged(context.Context) (map[string]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.at), nil
}

// Files lists the disks.
func (g guestDisks) Files(context.Context) ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.disks)), nil
}

// Snapshot copies a disk.
func (g guestDisks) Snapshot(_ context.Context, snapshot, disk string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.copyOf(g.snapshots, snapshot, g.disks[disk], g.sizes[disk])
}

// Restore makes a disk from a snapshot.
func (g guestDisks) Restore(_ context.Context, disk, snapshot string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.copyOf(g.disks, disk, g.snapshots[snapshot], g.sizes[snapshot])
}

func (g guestDisks) copyOf(to map[string]*qemu.Disk, id string, source *qemu.Disk, size int64) error {
	switch {
	case to[id] != nil:
		return nil
	case source == nil:
		return simulator.ErrNoDisk
	}
	made, err := source.Copy("", size)
	if err != nil {
		return err
	}
	to[id], g.sizes[id] = made, size
	return nil
}

// RemoveSnapshot throws a snapshot away.
func (g guestDisks) RemoveSnapshot(_ context.Context, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.drop(g.snapshots, id)
}

// Snapshots lists the snapshots.
func (g guestDisks) Snapshots(context.Context) ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.snapshots)), nil
}

// Forget has nothing to do.
func (guestDisks) Forget(context.Context, string) error { return nil }

// guestShares are the platform's shared file systems.
type guestShares struct{ *platform }

func (g guestShares) dir(id string) string { return filepath.Join(g.content, id) }

// Ensure makes a file system.
func (g guestShares) Ensure(_ context.Context, id string) error { return os.MkdirAll(g.dir(id), 0o755) }

// Attach gives a file system to the guest.
func (g guestShares) Attach(ctx context.Context, id string, tag int, instance string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := simulator.FileSystemAttachment{ID: id, InstanceID: instance, MountTag: tag}
	if g.shares[at] != nil {
		return nil
	}
	b, err := g.guest(instance)
	if err != nil {
		return err
	}
	share, err := b.machine.Attach(ctx, g.dir(id), strconv.Itoa(tag))
	if err != nil {
		return err
	}
	g.shares[at] = share
	return nil
}

// Detach takes a file system from the guest.
func (g guestShares) Detach(ctx context.Context, id string, tag int, instance string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := simulator.FileSystemAttachment{ID: id, InstanceID: instance, MountTag: tag}
	share := g.shares[at]
	if share == nil {
		return nil
	}
	if err := share.Detach(ctx); err != nil {
		return err
	}
	delete(g.shares, at)
	return nil
}

// Used adds up the files.
func (g guestShares) Used(_ context.Context, id string) (used int64, err error) {
	err = filepath.WalkDir(g.dir(id), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			used += info.Size()
		}
		return err
	})
	return used, err
}

// Remove deletes a file system.
func (g guestShares) Remove(_ context.Context, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for at := range g.shares {
		if at.ID == id {
			return simulator.ErrPlugged
		}
	}
	return os.RemoveAll(g.dir(id))
}

// Attached lists what guests have.
func (g guestShares) Attached(context.Context) ([]simulator.FileSystemAttachment, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.shares)), nil
}

// List lists the file systems.
func (g guestShares) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(g.content)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all, nil
}

// Forget has nothing to do.
func (guestShares) Forget(context.Context, string) error { return nil }
