// Package blockstage brings block volumes to the pods of a node: from the disk over the layer on it to the device, from
// there, unless the pod gets the device itself, over the file system to the mount at the staging path, and by a bind to
// the pod's path.
//
// What is where is asked of the kernel. The record of staging tells what the kernel cannot: from which stay of the disk
// a mount was made, and how it was meant to be used.
package blockstage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockfs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/looks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const (
	// formatsAtOnce bounds the memory of mkfs, checksAtOnce that of e2fsck, which has a map of the whole file system.
	formatsAtOnce, checksAtOnce = 2, 2
	// healthPatience is how long a file system has to show that it works.
	healthPatience = 10 * time.Second
)

// The owners of long work are the calls that begin it and wait for it again.
const (
	StageCall  = "NodeStageVolume"
	ExpandCall = "NodeExpandVolume"
)

// Config is what a Stager needs.
type Config struct {
	Finder device.Finder
	State  *state.Store
	// BootID is the present boot of the machine.
	BootID string
	// Patience is how long to wait for a disk to appear, to show a new size, or to be no longer in use.
	Patience time.Duration
	// Work runs what takes long.
	Work *longwork.Runner
	// Registerer is where metrics go; nil is nowhere.
	Registerer prometheus.Registerer
	// KernelHas asks for a file system of the kernel; nil is filesystem.KernelHas.
	KernelHas func(fsType string) error
}

// Stager brings block volumes to pods. Its methods must not run twice at a time for one volume, except Stats.
type Stager struct {
	cfg       Config
	layer     layers
	opens     opens
	formatter *blockfs.Formatter
	looks     looks.Looks
	checks    checks
	// sync writes out the file system that is mounted at a path.
	sync       func(path string) error
	lostWrites prometheus.Counter
}

// New returns a Stager. Records of formats that can no longer be continued are removed.
func New(cfg Config) *Stager {
	if cfg.KernelHas == nil {
		cfg.KernelHas = filesystem.KernelHas
	}
	crypt := luks.New()
	crypt.Ended = newEncryptions(cfg.Registerer).ended
	s := &Stager{
		cfg: cfg, layer: layers{cfg.Finder, crypt}, formatter: blockfs.NewFormatter(formatsAtOnce), checks: newChecks(cfg.Registerer),
		sync: mount.Sync, lostWrites: newLostWrites(cfg.Registerer),
	}
	intents, err := cfg.State.Intents()
	if err != nil {
		klog.Background().Error(err, "Old records of formats are not removed")
	}
	for _, i := range intents {
		if i.BootID == cfg.BootID {
			continue
		}
		if err := cfg.State.ClearIntent(i.VolumeID); err != nil {
			klog.Background().Error(err, "The record of a format of an earlier boot is not removed", "volumeID", i.VolumeID)
		}
	}
	return s
}

// serialOf returns the serial that a volume's disk has, which follows from the volume's ID.
func serialOf(v staging.Volume) (string, error) {
	serial := v.Published[volume.ContextSerial]
	if serial == "" {
		return "", volume.Errorf(volume.Invalid, "publish context: %s is missing", volume.ContextSerial)
	}
	if !volume.SerialMatches(v.ID, serial) {
		return "", volume.Errorf(volume.Invalid, "publish context: %s %s is the serial of another volume than %s", volume.ContextSerial, serial, v.ID)
	}
	return serial, nil
}

// hasSource reports whether the volume was made from something, so that it must never be formatted.
func hasSource(v staging.Volume) bool {
	return v.Context[volume.ContextContentSource] != "" || v.Published[volume.ContextContentSource] != ""
}

// record returns the record of staging, nil when there is none, and refuses one of another disk.
func (s *Stager) record(volumeID, serial string) (*state.Staged, error) {
	r, err := s.cfg.State.Staged(volumeID)
	if err == nil && r != nil && !strings.EqualFold(r.Serial, serial) {
		return nil, volume.Errorf(volume.InUse, "volume %s is staged from the disk with serial %s, not %s; unstage it first", volumeID, r.Serial, serial)
	}
	return r, err
}

// current reports whether the record is of the present stay of the disk, as far as can be known.
func (s *Stager) current(r *state.Staged, d device.Device) bool {
	return r != nil && r.BootID == s.cfg.BootID && r.DiskSeq != 0 && r.DiskSeq == d.Seq
}

// newRecord is the record of a volume that is staged from the device now.
func (s *Stager) newRecord(v staging.Volume, d device.Device) state.Staged {
	return state.Staged{
		VolumeID: v.ID, Serial: d.Serial, Kind: string(volume.Block), Block: v.Use.Block, ReadOnly: v.Use.ReadOnly,
		Layer: v.Encryption, Device: d.Path, Number: d.Number.String(), BootID: s.cfg.BootID, DiskSeq: d.Seq,
	}
}

// gone returns device.ErrGone, with words, when what is mounted was staged from a stay of the disk that is over. Without
// a record only the absence of any such device proves that.
func (s *Stager) gone(r *state.Staged, e mount.Entry) error {
	if _, err := filesystem.Of(e.FSType); err != nil {
		return nil //nolint:nilerr // it is no mount of a disk
	}
	if e.Number.Major == 0 { // a btrfs whose number tells nothing of its disk
		if e.Lost {
			return fmt.Errorf("%w: the disk of the %s that is mounted at %s is not in the kernel any more", device.ErrGone, e.FSType, e.Path)
		}
		return nil
	}
	return s.goneDevice(r, e.Number)
}

// goneDevice is gone for the number of a device.
func (s *Stager) goneDevice(r *state.Staged, n device.Number) error {
	serial, seq := "", uint64(0)
	if r != nil && (r.Number == "" || r.Number == n.String()) {
		serial = r.Serial
		if r.BootID == s.cfg.BootID {
			seq = r.DiskSeq
		}
	}
	if err := s.layer.Same(n, serial, seq); errors.Is(err, device.ErrGone) {
		return err
	}
	return nil
}

// wait waits for the device of a serial.
func (s *Stager) wait(ctx context.Context, serial string) (device.Device, error) {
	d, err := s.layer.Wait(ctx, serial, s.cfg.Patience)
	if errors.Is(err, device.ErrNotFound) {
		return d, volume.Errorf(volume.Busy, "the disk has not appeared on this node: %w; the disks that are there have serials %q", err, s.layer.Serials())
	}
	if errors.Is(err, device.ErrUndecided) {
		return d, volume.Errorf(volume.Busy, "%w", err)
	}
	if err != nil {
		return d, volume.Errorf(volume.InUse, "%w", err)
	}
	return d, nil
}

// find finds the device of a serial.
func (s *Stager) find(serial string) (device.Device, error) {
	d, err := s.layer.Find(serial)
	if errors.Is(err, device.ErrUndecided) {
		return d, volume.Errorf(volume.Busy, "the device of the volume: %w", err)
	}
	if err != nil {
		return d, volume.Errorf(volume.InUse, "the device of the volume: %w", err)
	}
	return d, nil
}

func describe(d device.Device) string { return fmt.Sprintf("device %s (serial %s)", d.Path, d.Serial) }
