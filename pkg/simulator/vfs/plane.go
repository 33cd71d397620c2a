package vfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/gate"
)

// Plane is the data plane of file systems under one root directory. Its methods may be called from several goroutines
// and, for the same root, from several processes of one mount namespace.
type Plane struct {
	root string
	gate gate.Gate
	used *usage
	// step is called with the name of each step that has just been done; tests cut in there.
	step func(name string)
}

var _ simulator.FileSystems = (*Plane)(nil)

// New makes the plane's directories under root, which can be that of the disks.
func New(root string) (*Plane, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("directory of the file systems: %w", err)
	}
	p := &Plane{root: root, used: newUsage(), step: func(string) {}}
	for _, dir := range []string{p.contents(), p.instances()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("directory of the file systems: %w", err)
		}
	}
	// Mounts are listed by their real paths.
	if p.root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, fmt.Errorf("directory of the file systems: %w", err)
	}
	p.gate = gate.New(filepath.Join(p.contents(), ".lock"))
	return p, nil
}

func (p *Plane) contents() string         { return filepath.Join(p.root, "filesystems") }
func (p *Plane) content(id string) string { return filepath.Join(p.contents(), id) }
func (p *Plane) instances() string        { return filepath.Join(p.root, "instances") }

// vfsDir is where the instance's file systems are published.
func (p *Plane) vfsDir(instanceID string) string {
	return filepath.Join(p.instances(), instanceID, "vfs")
}

func (p *Plane) publication(instanceID string, tag int) string {
	return filepath.Join(p.vfsDir(instanceID), strconv.Itoa(tag))
}

// checkIDs refuses what would not stay inside the plane's directories.
func checkIDs(ids ...string) error {
	var faults []error
	for _, id := range ids {
		if err := uuid.Validate(id); err != nil || len(id) != 36 {
			faults = append(faults, fmt.Errorf("%q is not a UUID", id))
		}
	}
	return errors.Join(faults...)
}

// Ensure makes the directory of the content.
func (p *Plane) Ensure(_ context.Context, id string) error {
	if err := checkIDs(id); err != nil {
		return err
	}
	err := os.Mkdir(p.content(id), 0o755)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("file system %s: %w", id, err)
	}
	return nil
}

// Attach shows the file system in the instance's directory.
func (p *Plane) Attach(ctx context.Context, id string, mountTag int, instanceID string) error {
	if err := checkIDs(id, instanceID); err != nil {
		return err
	}
	err := p.gate.Do(ctx, func() error { return p.publish(id, mountTag, instanceID) })
	if err != nil {
		return fmt.Errorf("publishing file system %s to instance %s: %w", id, instanceID, err)
	}
	klog.FromContext(ctx).V(1).Info("File system attached", "vfs", id, "instance", instanceID, "tag", mountTag)
	return nil
}

// Detach takes the file system out of the instance's directory, unless something in the instance uses it.
func (p *Plane) Detach(ctx context.Context, id string, mountTag int, instanceID string) error {
	if err := checkIDs(id, instanceID); err != nil {
		return err
	}
	err := p.gate.Do(ctx, func() error { return p.withdraw(id, mountTag, instanceID) })
	if err != nil {
		return fmt.Errorf("withdrawing file system %s from instance %s: %w", id, instanceID, err)
	}
	klog.FromContext(ctx).V(1).Info("File system detached", "vfs", id, "instance", instanceID, "tag", mountTag)
	return nil
}

// Remove deletes the content. The error is simulator.ErrPlugged while it is published.
func (p *Plane) Remove(ctx context.Context, id string) error {
	if err := checkIDs(id); err != nil {
		return err
	}
	return p.gate.Do(ctx, func() error {
		all, err := p.attached()
		if err != nil {
			return err
		}
		for _, a := range all {
			if a.ID == id {
				return fmt.Errorf("file system %s (instance %s): %w", id, a.InstanceID, simulator.ErrPlugged)
			}
		}
		if err := os.RemoveAll(p.content(id)); err != nil {
			return fmt.Errorf("file system %s: %w", id, err)
		}
		p.used.forget(id)
		return nil
	})
}

// Attached lists what is published, whoever published it.
func (p *Plane) Attached(ctx context.Context) (all []simulator.FileSystemAttachment, err error) {
	err = p.gate.Do(ctx, func() error {
		all, err = p.attached()
		return err
	})
	return all, err
}

// List names the file systems that have a directory.
func (p *Plane) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(p.contents())
	if err != nil {
		return nil, fmt.Errorf("directory of the file systems: %w", err)
	}
	var ids []string
	for _, entry := range entries {
		if entry.IsDir() && checkIDs(entry.Name()) == nil {
			ids = append(ids, entry.Name())
		}
	}
	return ids, nil
}

// Prepare makes the instance's directory ready, so that a machine can bind it before the first file system is attached.
func (p *Plane) Prepare(instanceID string) error {
	if err := checkIDs(instanceID); err != nil {
		return err
	}
	// It waits for other changes only, and these are short.
	return p.gate.Do(context.Background(), func() error { return p.prepare(instanceID) })
}

// Forget removes what Prepare made, unless a file system is published there.
func (p *Plane) Forget(ctx context.Context, instanceID string) error {
	if err := checkIDs(instanceID); err != nil {
		return err
	}
	return p.gate.Do(ctx, func() error { return p.forget(instanceID) })
}

// Release takes away everything that is published, and the mounts that Prepare made. What is in use stays; the error
// says by what.
func (p *Plane) Release(ctx context.Context) error {
	all, err := p.Attached(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, a := range all {
		faults = append(faults, p.Detach(ctx, a.ID, a.MountTag, a.InstanceID))
	}
	entries, err := os.ReadDir(p.instances())
	if err != nil {
		return errors.Join(append(faults, fmt.Errorf("directory of the instances: %w", err))...)
	}
	for _, entry := range entries {
		if checkIDs(entry.Name()) == nil {
			faults = append(faults, p.Forget(ctx, entry.Name()))
		}
	}
	return errors.Join(faults...)
}
