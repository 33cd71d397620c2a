package blockstage

import (
	"context"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// layer is what lies between a disk and the device that is mounted or shown to a pod. It answers what depends on how the
// one is made of the other: which device it is, how large, whether it still leads to the disk.
type layer interface {
	// Wait returns the device of the disk with the serial, when the disk is there.
	Wait(ctx context.Context, serial string, patience time.Duration) (device.Device, error)
	// Find is Wait without waiting.
	Find(serial string) (device.Device, error)
	// ByNumber returns the device with the number.
	ByNumber(n device.Number) (device.Device, error)
	// Same returns device.ErrGone when the device with the number no longer leads to the disk that it led to when the
	// disk's serial and sequence number were recorded.
	Same(n device.Number, serial string, seq uint64) error
	// Grow brings a growth of the disk to the device and returns the device's size.
	Grow(ctx context.Context, d device.Device) (int64, error)
	// Release flushes the device when nobody has it any more, and takes it from the disk.
	Release(ctx context.Context, d device.Device, patience time.Duration) error
	// Serials lists the disks that are there, for messages.
	Serials() []string
}

// plain is no layer at all: the disk itself is mounted.
type plain struct{ device.Finder }

// Grow has nothing to do: the disk is the device.
func (plain) Grow(_ context.Context, d device.Device) (int64, error) { return device.Measure(d) }

// Release flushes the disk and takes back a read-only flag.
func (plain) Release(ctx context.Context, d device.Device, patience time.Duration) error {
	if err := device.Release(ctx, d, patience); err != nil {
		return err
	}
	return clearReadOnly(d)
}

func clearReadOnly(d device.Device) error {
	readOnly, err := device.ReadOnly(d)
	if err != nil || !readOnly {
		return err
	}
	return device.SetReadOnly(d, false)
}
