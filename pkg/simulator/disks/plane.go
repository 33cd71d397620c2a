package disks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/gate"
)

// maxSerial is what virtio-blk has room for.
const maxSerial = 20

// Plane is the data plane of block storage under one root directory. Its methods may be called from several
// goroutines and, for the same root, from several processes.
type Plane struct {
	root string
	gate gate.Gate
	// step is called with the name of each step that has just been done; tests cut in there.
	step func(name string)
	// share makes one file share another's blocks, where it can; tests take the other way on any machine.
	share func(dst, src *os.File) (bool, error)
}

var _ simulator.Disks = (*Plane)(nil)

// New makes the plane's directories under root and proves that loop devices can be made at all.
func New(root string) (*Plane, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("directory of the disks: %w", err)
	}
	if err := proveLoops(); err != nil {
		return nil, err
	}
	p := &Plane{root: root, step: func(string) {}, share: clone}
	for _, dir := range []string{p.disksDir(), p.snapshotsDir(), filepath.Join(root, "instances")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("directory of the disks: %w", err)
		}
	}
	// The lock on the control node keeps apart all planes of one machine: to look at loop devices means to open them,
	// and a device that another plane has open for its look cannot be cleared.
	p.gate = gate.New(filepath.Join(p.disksDir(), ".lock"), loopControl)
	return p, nil
}

// Plug gives the disk to the instance. The record comes first and says so to whoever looks after a kill.
func (p *Plane) Plug(ctx context.Context, id, serial, instanceID string) error {
	if err := errors.Join(checkName("disk", id), checkName("serial", serial), checkName("instance", instanceID)); err != nil {
		return err
	}
	if len(serial) > maxSerial {
		return fmt.Errorf("serial %q is longer than the %d characters that virtio has room for", serial, maxSerial)
	}
	return p.gate.Do(ctx, func() error { return p.plug(ctx, id, serial, instanceID) })
}

func (p *Plane) plug(ctx context.Context, id, serial, instanceID string) error {
	rec, err := p.claim(id, serial, instanceID)
	if err != nil {
		return err
	}
	p.step("record written")
	dev, fresh, err := p.attach(id)
	if err != nil {
		return err
	}
	p.step("loop device configured")
	instance := p.instance(instanceID)
	if !fresh && instance.shows(rec, dev) {
		return nil
	}
	if err := dev.setCapacity(); err != nil {
		return err
	}
	if err := instance.publish(rec, dev, p.step); err != nil {
		return fmt.Errorf("publishing disk %s to instance %s: %w", id, instanceID, err)
	}
	klog.FromContext(ctx).V(1).Info("Disk plugged", "disk", id, "instance", instanceID, "device", rec.Name, "loop", dev.name())
	return nil
}

// claim writes the record that the disk belongs to the instance under a device name, or finds it written.
func (p *Plane) claim(id, serial, instanceID string) (record, error) {
	rec, err := p.readRecord(id)
	switch {
	case err != nil:
		return record{}, err
	case rec.Instance == instanceID && rec.Serial == serial:
		return rec, nil
	case rec.Instance != "":
		if err := p.abandon(id, rec); err != nil {
			return record{}, err
		}
	}
	name, err := p.freeName(instanceID)
	if err != nil {
		return record{}, err
	}
	rec = record{Instance: instanceID, Serial: serial, Name: name}
	return rec, p.writeRecord(id, rec)
}

// abandon ends a plug into another instance that a kill or a reboot of the machine left without a loop device. One
// that has its loop device is in use there and stays.
func (p *Plane) abandon(id string, rec record) error {
	devices, err := p.devicesOf(id)
	if err != nil {
		return err
	}
	if len(devices) > 0 {
		return &simulator.BusyError{Disk: id, Holder: "plugged into instance " + rec.Instance}
	}
	return p.instance(rec.Instance).withdraw(rec, p.step)
}

// attach finds the backing file's loop device or makes it; fresh tells which.
func (p *Plane) attach(id string) (dev loop, fresh bool, err error) {
	f, err := os.OpenFile(p.image(id), os.O_RDWR, 0)
	if err != nil {
		return loop{}, false, fmt.Errorf("backing file of disk %s: %w", id, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	devices, err := loopsOf(f)
	switch {
	case err != nil:
		return loop{}, false, err
	case len(devices) > 1:
		return loop{}, false, fmt.Errorf("backing file %s has %d loop devices (%s): somebody else made one", f.Name(), len(devices), names(devices))
	case len(devices) == 1:
		// An unplug that was interrupted or held up may have told the kernel to clear the device on last close.
		return devices[0], false, devices[0].setAutoclear(false)
	}
	dev, err = configure(f, p.step)
	return dev, true, err
}

// Unplug takes the disk away from the instance. It is asked again until nothing holds the disk any more.
func (p *Plane) Unplug(ctx context.Context, id, instanceID string) error {
	if err := errors.Join(checkName("disk", id), checkName("instance", instanceID)); err != nil {
		return err
	}
	return p.gate.Do(ctx, func() error { return p.unplug(ctx, id, instanceID) })
}

func (p *Plane) unplug(ctx context.Context, id, instanceID string) error {
	rec, err := p.readRecord(id)
	if err != nil || rec.Instance != instanceID {
		return err
	}
	if err := p.instance(instanceID).withdraw(rec, p.step); err != nil {
		return fmt.Errorf("withdrawing disk %s from instance %s: %w", id, instanceID, err)
	}
	if err := p.release(ctx, id); err != nil {
		return err
	}
	p.step("loop device cleared")
	if err := p.removeRecord(id); err != nil {
		return err
	}
	klog.FromContext(ctx).V(1).Info("Disk unplugged", "disk", id, "instance", instanceID, "device", rec.Name)
	return nil
}

// release clears the disk's loop device unless something holds it.
func (p *Plane) release(ctx context.Context, id string) error {
	devices, err := p.devicesOf(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, dev := range devices {
		held, err := dev.clear(ctx)
		if err != nil {
			return err
		}
		if held {
			return &simulator.BusyError{Disk: id, Holder: holderOf(dev)}
		}
	}
	return nil
}

// Plugged tells which disks a plug was begun for whose unplug has not ended, and for which instance: those that have
// a loop device, and those that a kill or a reboot of the machine left half way. Plug completes and Unplug ends both.
func (p *Plane) Plugged(ctx context.Context) (map[string]string, error) {
	plugged := map[string]string{}
	err := p.gate.Do(ctx, func() error {
		ids, err := list(p.disksDir(), recordSuffix)
		if err != nil {
			return err
		}
		for _, id := range ids {
			rec, err := p.readRecord(id)
			if err != nil {
				return err
			}
			plugged[id] = rec.Instance
		}
		return nil
	})
	return plugged, err
}

// Prepare makes the instance's directories, so that a machine can bind them before the first disk is plugged.
func (p *Plane) Prepare(instanceID string) error {
	if err := checkName("instance", instanceID); err != nil {
		return err
	}
	return p.instance(instanceID).prepare()
}

// InstanceDir is where the instance's directories are.
func (p *Plane) InstanceDir(instanceID string) string { return string(p.instance(instanceID)) }

// Instances lists the instances that have directories.
func (p *Plane) Instances() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(p.root, "instances"))
	if err != nil {
		return nil, fmt.Errorf("directory of the disks: %w", err)
	}
	ids := make([]string, 0, len(entries))
	for _, entry := range entries {
		ids = append(ids, entry.Name())
	}
	return ids, nil
}

// Forget removes the instance's directories once no disk is published in them; otherwise it changes nothing.
func (p *Plane) Forget(ctx context.Context, instanceID string) error {
	if err := checkName("instance", instanceID); err != nil {
		return err
	}
	return p.gate.Do(ctx, func() error {
		used, err := p.usedNames(instanceID)
		if err != nil || len(used) > 0 {
			return err
		}
		return p.instance(instanceID).forget()
	})
}
