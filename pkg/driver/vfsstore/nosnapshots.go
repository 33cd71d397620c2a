package vfsstore

import (
	"context"
	"errors"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// noSnapshots is asked for snapshots in vain: the platform has none of file systems, and nothing here makes a source of one.
type noSnapshots struct{}

// Snapshot is not asked.
func (noSnapshots) Snapshot(context.Context, string) (vultr.Snapshot, error) {
	return vultr.Snapshot{}, errors.ErrUnsupported
}

// Snapshots is not asked.
func (noSnapshots) Snapshots(context.Context, time.Duration) (vultr.List[vultr.Snapshot], error) {
	return vultr.List[vultr.Snapshot]{}, errors.ErrUnsupported
}

// SnapshotsDescribed is not asked.
func (noSnapshots) SnapshotsDescribed(context.Context, string) (vultr.List[vultr.Snapshot], error) {
	return vultr.List[vultr.Snapshot]{}, errors.ErrUnsupported
}

// WaitSnapshotListed is not asked.
func (noSnapshots) WaitSnapshotListed(context.Context, string, string, time.Duration, func(vultr.Snapshot) (bool, error)) (vultr.Snapshot, vultr.List[vultr.Snapshot], error) {
	return vultr.Snapshot{}, vultr.List[vultr.Snapshot]{}, errors.ErrUnsupported
}

// CreateSnapshot is not ordered.
func (noSnapshots) CreateSnapshot(context.Context, string, string) (vultr.Snapshot, error) {
	return vultr.Snapshot{}, errors.ErrUnsupported
}

// DeleteSnapshot is not ordered.
func (noSnapshots) DeleteSnapshot(context.Context, string, ...vultr.Precondition) error {
	return errors.ErrUnsupported
}
