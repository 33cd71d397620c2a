package vfsstore

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// asDisks shows file systems to package blockstore as disks that are attached nowhere. What concerns attachments, and which
// size one is to have, is decided here, never there.
type asDisks struct {
	API
	noSnapshots

	// tags are those of new file systems.
	tags []string
}

func diskOf(f vultr.FileSystem) vultr.Volume {
	v := vultr.Volume{ID: f.ID, Label: f.Label, Region: f.Region, Status: f.Status, SizeGB: f.SizeGB, Type: vultr.HighPerf, Created: f.Created, MonthlyCost: f.MonthlyCost}
	if f.DiskType != "" && !strings.EqualFold(f.DiskType, string(volume.NVMe)) {
		v.Type = vultr.StorageOpt
	}
	return v
}

func disksOf(list vultr.List[vultr.FileSystem]) vultr.List[vultr.Volume] {
	all := make([]vultr.Volume, 0, len(list.Items))
	for _, f := range list.Items {
		all = append(all, diskOf(f))
	}
	return vultr.List[vultr.Volume]{Items: all, Began: list.Began}
}

// volumeOf translates a file system into the driver's terms, without its attachments.
func volumeOf(f vultr.FileSystem) volume.Volume {
	return volume.Volume{
		ID: f.ID, Name: f.Label, Kind: volume.VFS, Type: volume.NVMe, Region: strings.ToLower(f.Region),
		SizeGiB: int64(f.SizeGB), Ready: f.Active(), Created: f.Created, MonthlyCost: f.MonthlyCost,
	}
}

// VolumeNow reads one file system.
func (d asDisks) VolumeNow(ctx context.Context, id string, _ time.Duration) (vultr.Volume, time.Time, error) {
	f, at, err := d.FileSystemNow(ctx, id)
	return diskOf(f), at, err
}

// VolumeListed reads one file system by a list.
func (d asDisks) VolumeListed(ctx context.Context, id string, maxAge time.Duration) (vultr.Volume, time.Time, error) {
	f, at, err := d.FileSystemListed(ctx, id, maxAge)
	return diskOf(f), at, err
}

// Volumes lists all file systems.
func (d asDisks) Volumes(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Volume], error) {
	list, err := d.FileSystems(ctx, maxAge)
	return disksOf(list), err
}

// WaitListed waits until a list shows the file system as wished.
func (d asDisks) WaitListed(ctx context.Context, _, id string, missing time.Duration, done func(vultr.Volume) (bool, error)) (vultr.Volume, vultr.List[vultr.Volume], error) {
	f, list, err := d.WaitFileSystemListed(ctx, id, missing, func(f vultr.FileSystem) (bool, error) { return done(diskOf(f)) })
	return diskOf(f), disksOf(list), err
}

// WaitVolumeAsOf waits until reads show the file system as wished, which holds as of the beginning at least.
func (d asDisks) WaitVolumeAsOf(ctx context.Context, _, id string, done func(vultr.Volume) (bool, error)) (vultr.Volume, time.Time, error) {
	began := time.Now()
	f, err := d.WaitFileSystem(ctx, id, func(f vultr.FileSystem) (bool, error) { return done(diskOf(f)) })
	return diskOf(f), began, err
}

// CreateVolume makes a file system.
func (d asDisks) CreateVolume(ctx context.Context, r vultr.VolumeRequest) (vultr.Volume, error) {
	f, err := d.CreateFileSystem(ctx, vultr.FileSystemRequest{Label: r.Label, Region: r.Region, SizeGB: r.SizeGB, Tags: d.tags})
	return diskOf(f), err
}

// RelabelVolume gives a file system another label.
func (d asDisks) RelabelVolume(ctx context.Context, id, label string) error {
	return d.RelabelFileSystem(ctx, id, label)
}

// ResizeVolume grows a file system.
func (d asDisks) ResizeVolume(ctx context.Context, id string, sizeGB int) error {
	return d.ResizeFileSystem(ctx, id, sizeGB)
}

// ChangeVolume grows a file system and gives it another label.
func (d asDisks) ChangeVolume(ctx context.Context, id string, sizeGB int, label string) error {
	return d.ChangeFileSystem(ctx, id, sizeGB, label)
}

// DeleteVolume deletes a file system.
func (d asDisks) DeleteVolume(ctx context.Context, id string, preconditions ...vultr.Precondition) error {
	return d.DeleteFileSystem(ctx, id, preconditions...)
}

// Of what follows package blockstore orders nothing for another medium.

// Regions is not asked: the medium says what is sold.
func (asDisks) Regions(context.Context) ([]vultr.Region, error) { return nil, errors.ErrUnsupported }

// VolumeExists is not asked.
func (asDisks) VolumeExists(context.Context, string) (bool, error) {
	return false, errors.ErrUnsupported
}

// AttachVolume is not ordered.
func (asDisks) AttachVolume(context.Context, string, string) error { return errors.ErrUnsupported }

// DetachVolume is not ordered.
func (asDisks) DetachVolume(context.Context, string, ...vultr.Precondition) error {
	return errors.ErrUnsupported
}
