package blockstage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockfs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const (
	// unlockLimit is far beyond what any disk needs: it ends what is stuck.
	unlockLimit = 10 * time.Minute
	// closePatience is how long a device may take to be closed after a failure whose call may be over.
	closePatience = 10 * time.Second
)

// inside is the device that is open on an encrypted disk, or a disk that is not encrypted.
type inside struct {
	device.Device

	// fresh is set when the header says that nothing was put inside yet, and made when this call has just made it.
	fresh, made bool
}

// opens remembers which devices this process opened with which passphrase. What an earlier process left open may have been
// opened with one that is not the present one. The zero value is ready.
type opens struct {
	mu    sync.Mutex
	known map[string][sha256.Size]byte // by the device's name
}

func (o *opens) keep(name string, p luks.Passphrase) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		o.known = map[string][sha256.Size]byte{}
	}
	o.known[name] = sha256.Sum256([]byte(p))
}

func (o *opens) with(name string, p luks.Passphrase) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	sum, ok := o.known[name]
	return ok && sum == sha256.Sum256([]byte(p))
}

func (o *opens) forget(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, name)
}

// checkLayer refuses a volume that is staged with another layer than is asked for. A record alone, of an attempt that
// failed, is no staged file system.
func (s *Stager) checkLayer(v staging.Volume, r *state.Staged) error {
	if r == nil || r.BootID != s.cfg.BootID || r.Layer == v.Encryption {
		return nil
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	if !r.Block && !slices.ContainsFunc(table, func(e mount.Entry) bool { return e.Number.String() == r.Number }) {
		return nil
	}
	words := func(layer string) string {
		if layer == "" {
			return "without encryption"
		}
		return "with encryption " + layer
	}
	return volume.Errorf(volume.InUse, "volume %s is staged %s, asked for is one %s; unstage it first", v.ID, words(r.Layer), words(v.Encryption))
}

// deviceOf returns the device of a volume as it is now: what is open on its disk, or the disk itself when it is not
// encrypted. Of an encrypted disk on which nothing is open it returns the disk and errClosed.
func (s *Stager) deviceOf(volumeID, encryption string, disk device.Device) (device.Device, error) {
	if encryption == "" {
		return disk, nil
	}
	d, err := s.layer.Opened(volumeID, disk)
	if errors.Is(err, errClosed) {
		return disk, err
	}
	if err != nil {
		return device.Device{}, volume.Errorf(volume.Busy, "what is open on %s: %w", describe(disk), err)
	}
	return d, nil
}

// open opens the disk of an encrypted volume, for a caller of whom it is known that nothing is mounted from it. A disk that
// is proven blank gets a header first. What an earlier process left open is closed before: only a passphrase that opens the
// disk now stages the volume. A call to publish has none, and has what was staged by one that had it. The record of staging
// stands before anything is written or opened.
func (s *Stager) open(ctx context.Context, v staging.Volume, serial string) (inside, error) {
	disk, err := s.find(serial)
	if err != nil {
		return inside{}, err
	}
	in, err := s.opened(v, disk)
	if err == nil && (v.Keys.Current == "" || s.opens.with(mapperName(v.ID, disk), v.Keys.Current)) {
		return in, nil
	}
	if v.Keys.Current == "" {
		return inside{}, volume.Errorf(volume.InUse, "%s is encrypted and not open, it was plugged in again after the volume was staged perhaps, "+
			"and this call has no passphrase: it is opened when the volume is staged again, after every pod that uses it on this node has ended", describe(disk))
	}
	if err := s.closeAll(ctx, v.ID, device.Number{}); err != nil {
		return inside{}, err
	}
	if err := s.unprotect(disk, v.Use); err != nil {
		return inside{}, err
	}
	if err := s.cfg.State.WriteStaged(s.newRecord(v, disk)); err != nil {
		return inside{}, err
	}
	format, err := s.judgeDisk(ctx, v, disk)
	if err != nil {
		return inside{}, err
	}
	//nolint:contextcheck // it outlives the call
	err = s.cfg.Work.Do(ctx, v.ID, StageCall, func(task *longwork.Task) error { return s.unlock(task, v, disk, format) })
	if err != nil {
		return inside{}, err
	}
	in, err = s.opened(v, disk)
	in.made = format
	if err != nil {
		return inside{}, volume.Errorf(volume.Busy, "it was opened, and a moment later: %w", err)
	}
	return in, nil
}

// opened returns what is open on a disk.
func (s *Stager) opened(v staging.Volume, disk device.Device) (inside, error) {
	d, err := s.layer.Opened(v.ID, disk)
	if err != nil {
		return inside{}, err
	}
	header, err := readHeader(disk)
	return inside{Device: d, fresh: header.Fresh(v.ID)}, err
}

// readHeader reads the header of a disk.
func readHeader(disk device.Device) (luks.Header, error) {
	file, err := device.Open(disk, os.O_RDONLY)
	if err != nil {
		return luks.Header{}, err
	}
	defer file.Close() //nolint:errcheck // only read from
	return luks.ReadHeader(file)
}

// request is what staging asks of a disk or of what is inside.
func request(v staging.Volume) blockfs.Request {
	return blockfs.Request{VolumeID: v.ID, FSType: v.Use.FSType, ReadOnly: v.Use.ReadOnly, HasSource: hasSource(v), Encryption: v.Encryption}
}

// judgeDisk decides whether the disk of an encrypted volume gets a header, and if so has recorded that.
func (s *Stager) judgeDisk(ctx context.Context, v staging.Volume, disk device.Device) (format bool, err error) {
	findings, err := blockfs.Probe(ctx, disk)
	if err != nil {
		return false, unjudged(disk, err)
	}
	var header blockfs.Header
	if findings.Signature == blockfs.Encrypted {
		header.Header, header.Err = readHeader(disk)
	}
	intent, err := s.cfg.State.Intent(v.ID)
	if err != nil {
		return false, err
	}
	r := request(v)
	format, err = blockfs.DecideDisk(r, disk, findings, header, intent, s.cfg.BootID)
	if err != nil || !format {
		return false, err
	}
	return true, s.intend(ctx, v, disk, r)
}

// unlock makes the header of a disk if it is to have one, and opens the disk. It gets no more than a path of it, so the
// disk is held open, which keeps its number from going to another one, and is proven once more.
func (s *Stager) unlock(task *longwork.Task, v staging.Volume, disk device.Device, format bool) error {
	held, err := device.Open(disk, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer held.Close() //nolint:errcheck // only held
	if err := s.proveAgain(disk); err != nil {
		return err
	}
	if format {
		ctx, err := task.Step("encrypting "+describe(disk), longwork.AtOnce, unlockLimit, nil)
		if err != nil {
			return err
		}
		klog.FromContext(ctx).Info("Encrypting the disk", "device", disk.Path)
		if err := step.At(ctx, step.Encrypt); err != nil {
			return err
		}
		if err := s.layer.crypt.Format(ctx, disk.Path, v.ID, v.Keys.Current); err != nil {
			return withAdvice(fmt.Errorf("encrypting %s: %w", describe(disk), err), disk)
		}
		if err := step.At(ctx, step.Encrypted); err != nil {
			return err
		}
	}
	ctx, err := task.Step("opening the encrypted "+describe(disk), longwork.AtOnce, unlockLimit, nil)
	if err != nil {
		return err
	}
	if err := step.At(ctx, step.Open); err != nil {
		return err
	}
	if err := s.openBy(ctx, v, disk); err != nil {
		if errors.Is(err, luks.ErrPassphrase) {
			return volume.Errorf(volume.Denied, "%s is not opened: %w. The passphrase of the Secret is not the one with which the volume was encrypted; nothing was changed", describe(disk), err)
		}
		return withAdvice(fmt.Errorf("opening the encrypted %s: %w", describe(disk), err), disk)
	}
	s.opens.keep(mapperName(v.ID, disk), v.Keys.Current)
	return nil
}

// withAdvice says what a person can do about too little memory.
func withAdvice(err error, disk device.Device) error {
	if !errors.Is(err, luks.ErrMemory) {
		return err
	}
	return volume.Errorf(volume.InUse, "%w. Give the node plugin's container more memory or, if somebody else encrypted the disk at a higher cost than this driver does, "+
		"lower it for each of the key slots: `cryptsetup luksConvertKey --pbkdf argon2id --pbkdf-memory 65536 %s`", err, disk.Path)
}

// markUsed notes in the header that something was put inside. It is on the disk when this returns, and stands before the
// first mount and before a pod gets the device.
func (s *Stager) markUsed(task *longwork.Task, v staging.Volume, serial string) error {
	disk, err := s.find(serial)
	if err != nil {
		return err
	}
	ctx, err := task.Step("marking the encrypted "+describe(disk)+" as used", longwork.AtOnce, unlockLimit, nil)
	if err != nil {
		return err
	}
	if err := step.At(ctx, step.MarkUsed); err != nil {
		return err
	}
	if err := s.layer.crypt.MarkUsed(ctx, disk.Path, v.ID); err != nil {
		return err
	}
	header, err := readHeader(disk)
	if err == nil && header.Fresh(v.ID) {
		err = fmt.Errorf("the header of %s still says that nothing was put inside, after it was changed", describe(disk))
	}
	return err
}

// refuseOurs refuses a disk that this driver encrypted, for a pod that is to get it as it is: what it wrote would go over
// the header. Other content is the pod's own business, other encryption too.
func refuseOurs(d device.Device) error {
	header, err := readHeader(d)
	if _, failed := errors.AsType[*fs.PathError](err); failed {
		return volume.Errorf(volume.Busy, "whether %s is encrypted cannot be read: %w", describe(d), err)
	}
	if err == nil && header.Ours() {
		return blockfs.RefuseEncrypted(d)
	}
	return nil
}

// closeAll closes everything that is open on the disks of a volume but for one device. What is open on a stay of the disk
// that is over holds nothing, and is left to whoever still has it.
func (s *Stager) closeAll(ctx context.Context, volumeID string, but device.Number) error {
	all, err := s.layer.Mappers(mapperPrefix(volumeID))
	if err != nil {
		return err
	}
	var failed []error
	for _, m := range all {
		if m.Number == but {
			continue
		}
		s.opens.forget(m.Name)
		_, below := s.layer.Below(m)
		err := s.layer.close(ctx, m.Name)
		switch {
		case err == nil:
		case errors.Is(below, device.ErrGone):
			klog.FromContext(ctx).Info("What is open on a disk that was unplugged is still in use and is left open", "device", m.Name, "err", err)
		case errors.Is(err, luks.ErrBusy):
			users := device.Users(device.Device{Path: m.Path, Number: m.Number})
			failed = append(failed, volume.Errorf(volume.InUse, "device %s of volume %s is still in use: %s: %w", m.Name, volumeID, strings.Join(users, "; "), err))
		default:
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// closeAfter closes what a call to stage opened that failed for good, and forgets that it was to be staged: after such a
// failure the volume may be detached without being unstaged. Work that goes on needs it, and a call that was only cut off is
// repeated or undone. After a call to publish, which has no passphrase, the volume is still staged.
//
// It returns the failure. Where it cannot close, that is one after which the volume is unstaged, which tries again: the disk
// would be unplugged under what is open, and the key would stay in the kernel's memory until the node is started again.
func (s *Stager) closeAfter(ctx context.Context, v staging.Volume, failure error) error {
	if failure == nil || v.Keys.Current == "" || unfinished(failure) || ctx.Err() != nil {
		return failure
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
	defer cancel()
	err := s.closeAll(ctx, v.ID, device.Number{})
	if err == nil {
		err = s.cfg.State.ClearStaged(v.ID)
	}
	if err != nil {
		return volume.Errorf(volume.Busy, "%w; what is open on the encrypted disk is not closed yet, which is left to be unstaged: %w", failure, err)
	}
	return failure
}
