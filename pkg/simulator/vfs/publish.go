package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/mounts"
)

// ownMounts are those of this process's namespace.
func ownMounts() ([]mounts.Mount, error) {
	own, err := mounts.Read("/proc/self")
	if err != nil {
		return nil, fmt.Errorf("mounts of this machine: %w", err)
	}
	return own, nil
}

// mountAt finds the uppermost mount at a path.
func mountAt(all []mounts.Mount, path string) (mounts.Mount, bool) {
	for _, m := range slices.Backward(all) {
		if m.Target == path {
			return m, true
		}
	}
	return mounts.Mount{}, false
}

// attached reads from the kernel what is published.
func (p *Plane) attached() ([]simulator.FileSystemAttachment, error) {
	own, err := ownMounts()
	if err != nil {
		return nil, err
	}
	var all []simulator.FileSystemAttachment
	for _, m := range own {
		rest, ok := strings.CutPrefix(m.Target, p.instances()+"/")
		parts := strings.Split(rest, "/")
		if !ok || len(parts) != 3 || parts[1] != "vfs" {
			continue
		}
		tag, err := strconv.Atoi(parts[2])
		if err != nil {
			continue
		}
		// A directory that was removed in spite of its mount is marked so in its path.
		id := filepath.Base(strings.TrimSuffix(m.Root, "//deleted"))
		all = append(all, simulator.FileSystemAttachment{ID: id, InstanceID: parts[0], MountTag: tag})
	}
	return all, nil
}

// prepare makes the instance's vfs directory a shared mount of its own.
func (p *Plane) prepare(instanceID string) error {
	dir := p.vfsDir(instanceID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	own, err := ownMounts()
	if err != nil {
		return err
	}
	if _, mounted := mountAt(own, dir); !mounted {
		if err := bind(dir, dir); err != nil {
			return err
		}
		p.step("directory bound")
	}
	return share(dir)
}

// publish binds the content under the tag, or finds it bound.
func (p *Plane) publish(id string, tag int, instanceID string) error {
	if err := p.prepare(instanceID); err != nil {
		return err
	}
	source, target := p.content(id), p.publication(instanceID, tag)
	if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	p.step("mount point made")
	own, err := ownMounts()
	if err != nil {
		return err
	}
	if _, mounted := mountAt(own, target); mounted {
		if same, err := sameFile(source, target); same || err != nil {
			return err
		}
		return fmt.Errorf("something else is mounted on %s", target)
	}
	if err := bind(source, target); err != nil {
		return err
	}
	p.step("bound")
	return share(target)
}

func sameFile(a, b string) (bool, error) {
	first, errFirst := os.Stat(a)
	second, errSecond := os.Stat(b)
	return errFirst == nil && errSecond == nil && os.SameFile(first, second), errors.Join(errFirst, errSecond)
}

// bind mounts a directory in another place, in one step and as a mount that belongs to no peer group of the source: a
// plain bind mount would join the source's, if that is shared, as it is on most machines.
func bind(source, target string) (err error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("bind %s: %w", source, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Propagation: unix.MS_PRIVATE}); err != nil {
		return fmt.Errorf("bind %s: %w", source, err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("bind %s to %s: %w", source, target, err)
	}
	return nil
}

// share gives a mount a peer group, if it has none.
func share(target string) error {
	if err := unix.Mount("", target, "", unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share %s: %w", target, err)
	}
	return nil
}

// withdraw unmounts the publication unless something uses it.
func (p *Plane) withdraw(id string, tag int, instanceID string) error {
	own, err := ownMounts()
	if err != nil {
		return err
	}
	target := p.publication(instanceID, tag)
	published, ok := mountAt(own, target)
	if ok {
		if err := p.unmount(id, published, own); err != nil {
			return err
		}
		p.step("unbound")
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.step("mount point removed")
	return nil
}

func (p *Plane) unmount(id string, published mounts.Mount, own []mounts.Mount) error {
	// A kill can have come between the mount and its group.
	if published.Shared == 0 {
		if err := share(published.Target); err != nil {
			return err
		}
		again, err := ownMounts()
		if err != nil {
			return err
		}
		published, _ = mountAt(again, published.Target)
	}
	above, _ := mountAt(own, filepath.Dir(published.Target))
	if holders := holdersOf(published, above); len(holders) > 0 {
		return &simulator.BusyError{Disk: id, Holder: strings.Join(holders, "; ")}
	}
	err := unix.Unmount(published.Target, 0)
	if errors.Is(err, unix.EBUSY) {
		return &simulator.BusyError{Disk: id, Holder: "a program has something in it open, or works in it"}
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", published.Target, err)
	}
	return nil
}

// holdersOf finds what was bound from the publication: all mounts of its peer group and of groups that follow it, but
// for those that show the publication itself in another namespace, which have the instance's directory for a parent.
func holdersOf(published, above mounts.Mount) []string {
	spaces := mounts.Namespaces()
	groups := followers(spaces, published.Shared)
	var holders []string
	seen := map[string]bool{}
	for _, space := range spaces {
		parents := map[int]mounts.Mount{}
		for _, m := range space.Mounts {
			parents[m.ID] = m
		}
		for _, m := range space.Mounts {
			parent := parents[m.Parent]
			shown := parent.Root == above.Root && parent.Numbers == above.Numbers
			if shown || seen[m.Target] || (!groups[m.Shared] && !groups[m.Master]) {
				continue
			}
			seen[m.Target] = true
			holders = append(holders, fmt.Sprintf("mounted on %s (seen by process %s)", m.Target, mounts.Describe(space.Proc)))
		}
	}
	return holders
}

// followers are the peer group and all that get their mounts from it, directly or not.
func followers(spaces []mounts.Namespace, group int) map[int]bool {
	groups := map[int]bool{group: true}
	for before := 0; before != len(groups); {
		before = len(groups)
		for _, space := range spaces {
			for _, m := range space.Mounts {
				if m.Shared != 0 && groups[m.Master] {
					groups[m.Shared] = true
				}
			}
		}
	}
	return groups
}

// forget ends what prepare made, unless something is published there.
func (p *Plane) forget(instanceID string) error {
	dir := p.vfsDir(instanceID)
	own, err := ownMounts()
	if err != nil {
		return err
	}
	for _, m := range own {
		if strings.HasPrefix(m.Target, dir+"/") {
			return nil
		}
	}
	if _, mounted := mountAt(own, dir); mounted {
		// Nothing is in it that could be lost, so who still looks at it does not matter.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	entries, err := os.ReadDir(dir) // mount points of a machine that was started again
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
