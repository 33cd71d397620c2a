package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// The checks of this file read what the platform has, without its lag, and what the kernel has mounted.

// ids of the platform's objects of the name, and where each is attached.
func (v *volume) places() (ids []string, at [][]string) {
	view := v.p.cloud.Sim.View()
	for _, b := range v.blocks(view) {
		var where []string
		for _, instance := range []string{b.AttachedTo, b.PendingInstance} {
			if instance != "" {
				where = append(where, instance)
			}
		}
		ids, at = append(ids, b.ID), append(at, where)
	}
	for _, f := range v.fileSystems(view) {
		var where []string
		for _, a := range f.Attachments {
			where = append(where, a.Instance)
		}
		ids, at = append(ids, f.ID), append(at, where)
	}
	return ids, at
}

// isCreated says that the volume is there and can be used.
func (v *volume) isCreated() error {
	ids, _ := v.places()
	if !slices.Contains(ids, v.id) {
		return fmt.Errorf("the platform has %s of the name, not %s", ids, v.id)
	}
	for _, b := range v.p.cloud.Sim.View().Blocks {
		if b.ID == v.id && !b.Active {
			return fmt.Errorf("volume %s is not active", v.id)
		}
	}
	return nil
}

// isGone says that nothing of the name is left.
func (v *volume) isGone() error {
	if ids, _ := v.places(); slices.Contains(ids, v.id) {
		return fmt.Errorf("the platform has %s of the name", ids)
	}
	return nil
}

// isAttached says that this machine has the volume, and no other.
func (v *volume) isAttached() error {
	ids, at := v.places()
	i := slices.Index(ids, v.id)
	if i < 0 || !slices.Equal(at[i], []string{v.host().instance}) {
		return fmt.Errorf("the platform has %s of the name at %s, not %s at %s alone", ids, at, v.id, v.host().instance)
	}
	if v.isShared() {
		return nil
	}
	if b := v.blocks(v.p.cloud.Sim.View())[i]; b.AttachedTo == "" || b.Pending != "" {
		return fmt.Errorf("of the volume something is still under way: %+v", b)
	}
	if seen := v.seenBy(); len(seen) != 1 || !strings.HasPrefix(seen[0], v.host().disks) {
		return fmt.Errorf("the disk is seen at %s", seen)
	}
	return nil
}

// isFree says that no machine has the volume, nor gets it later.
func (v *volume) isFree() error {
	ids, at := v.places()
	if i := slices.Index(ids, v.id); i >= 0 && len(at[i]) > 0 {
		return fmt.Errorf("volume %s is at %s", v.id, at[i])
	}
	if seen := v.seenBy(); len(seen) != 0 {
		return fmt.Errorf("the disk is seen at %s", seen)
	}
	return nil
}

// serial is what the guest sees as the volume's.
func (v *volume) serial() string {
	for _, b := range v.p.cloud.Sim.View().Blocks {
		if b.ID == v.id {
			return b.MountID
		}
	}
	return ""
}

// seenBy lists the device nodes of the volume on all machines.
func (v *volume) seenBy() []string {
	if v.isShared() {
		return nil
	}
	all, err := filepath.Glob(filepath.Join(v.p.cloud.DisksDir, "instances", "*", "devices", "disk", "by-id", "virtio-"+v.serial()))
	if err != nil {
		return []string{err.Error()}
	}
	return all
}

// isLarger says that the platform has made the volume larger, once.
func (v *volume) isLarger() error {
	view := v.p.cloud.Sim.View()
	sizes := map[string]int{}
	for _, b := range view.Blocks {
		sizes[b.ID] = b.SizeGB
	}
	for _, f := range view.FileSystems {
		sizes[f.ID] = f.SizeGB
	}
	if size := sizes[v.id]; int64(size) != 2*v.sizeGiB {
		return fmt.Errorf("the volume has %d GB, asked for were %d", size, 2*v.sizeGiB)
	}
	return nil
}

// isNoted says that the volume's label is its name, by which it is found, with the note.
func (v *volume) isNoted() error {
	view := v.p.cloud.Sim.View()
	labels := map[string]string{}
	for _, b := range view.Blocks {
		labels[b.ID] = b.Label
	}
	for _, f := range view.FileSystems {
		labels[f.ID] = f.Label
	}
	if label := labels[v.id]; label != ownership.WithNote(v.name, note) {
		return fmt.Errorf("the label is %q, asked for was the note %q", label, note)
	}
	return nil
}

// at lists what is mounted at a path.
func at(path string) (mount.Table, error) {
	table, err := mount.Read()
	return slices.DeleteFunc(table, func(e mount.Entry) bool { return e.Path != path }), err
}

// isStaged says that the file system is mounted once at the staging path; of a block device nothing is.
func (v *volume) isStaged() error {
	mounts, err := at(v.staging())
	if err != nil {
		return err
	}
	if v.fs == "" {
		if len(mounts) > 0 {
			return fmt.Errorf("a block device is mounted: %+v", mounts)
		}
		return nil
	}
	return v.isTheVolume(mounts)
}

// isTheVolume says that there is one mount, and that it is of this volume.
func (v *volume) isTheVolume(mounts mount.Table) error {
	if len(mounts) != 1 {
		return fmt.Errorf("there are %d mounts: %+v", len(mounts), mounts)
	}
	if v.isShared() {
		return nil // its data tells
	}
	device := v.seenBy()
	if len(device) != 1 {
		return fmt.Errorf("the disk is seen at %s", device)
	}
	number := func(path string) (uint64, error) {
		var st unix.Stat_t
		err := unix.Stat(path, &st)
		return st.Rdev, err
	}
	want, err := number(device[0])
	if err != nil {
		return err
	}
	if v.fs == "" {
		if has, err := number(mounts[0].Path); err != nil || has != want {
			return fmt.Errorf("the block device is %x, not %x: %w", has, want, errors.Join(err))
		}
		return nil
	}
	if text := fmt.Sprintf("%d:%d", unix.Major(want), unix.Minor(want)); mounts[0].FSType != v.fs || v.fs != "btrfs" && mounts[0].Number.String() != text {
		return fmt.Errorf("mounted is %+v, not the %s on %s", mounts[0], v.fs, text)
	}
	return nil
}

// isUnstaged says that nothing on the machine has the volume any more.
func (v *volume) isUnstaged() error {
	for _, e := range mountsBelow(v.p, v.host().kubelet) {
		if strings.Contains(e.Path, v.name) {
			return fmt.Errorf("%s is still mounted", e.Path)
		}
	}
	return nil
}

// isPublished says that the volume is bound once to the pod's path.
func (v *volume) isPublished() error {
	mounts, err := at(v.target())
	if err != nil {
		return err
	}
	return v.isTheVolume(mounts)
}

// isUnpublished says that nothing is left at the pod's path.
func (v *volume) isUnpublished() error {
	mounts, err := at(v.target())
	if err == nil && len(mounts) > 0 {
		err = fmt.Errorf("%d mounts are left", len(mounts))
	}
	if _, missing := os.Lstat(v.target()); err == nil && !errors.Is(missing, os.ErrNotExist) {
		err = fmt.Errorf("%s is left: %w", v.target(), errors.Join(missing))
	}
	return err
}

// hasGrown says that the file system has the new size, all but what it needs itself, and a block device the whole of it, as
// the node has answered.
func (v *volume) hasGrown() error {
	if v.grown != 2*v.size() {
		return fmt.Errorf("the node says that it has %d bytes, asked for were %d", v.grown, 2*v.size())
	}
	if v.fs == "" {
		if has, err := sizeOf(v.target()); err != nil || has != 2*v.size() {
			return fmt.Errorf("the pod's device has %d bytes, not %d: %w", has, 2*v.size(), errors.Join(err))
		}
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(v.target(), &st); err != nil {
		return err
	}
	if has := int64(st.Blocks) * st.Bsize; has < 2*v.size()*9/10 {
		return fmt.Errorf("the file system has %d bytes of %d", has, 2*v.size())
	}
	return nil
}

// nothingIsLeft proves, after everything was taken down, that the platform has nothing of it, and the machines neither.
func (p *point) nothingIsLeft(kept int) {
	p.Helper()
	p.await("an account without leftovers", func(v simulator.View) bool {
		return len(v.Blocks)+len(v.FileSystems)+len(v.Snapshots) <= kept
	})
	for _, h := range p.hosts {
		if below := mountsBelow(p, h.kubelet); len(below) > 0 {
			p.Errorf("still mounted are %s", below.Paths())
		}
		nodes, err := filepath.Glob(filepath.Join(h.disks, "devices", "vd*"))
		if err != nil || len(nodes) > 0 {
			p.Errorf("disks are left: %s, %v", nodes, err)
		}
		records, err := os.ReadDir(h.state)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			p.Error(err)
		}
		for _, record := range records {
			p.Errorf("a record is left on the machine: %s", record.Name())
		}
	}
}
