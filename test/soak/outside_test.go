package soak

import (
	"context"
	"sync"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// outside runs work outside of the bubble, where time is real: the data planes wait for other processes and compare the
// clock with the times of files. The fake clock stands meanwhile.
type outside struct {
	mu   sync.Mutex
	work chan func()
	done chan struct{}
}

// newOutside is called outside of the bubble. It ends with end.
func newOutside() *outside {
	o := &outside{work: make(chan func()), done: make(chan struct{})}
	go func() {
		for f := range o.work {
			f()
			o.done <- struct{}{}
		}
	}()
	return o
}

func (o *outside) do(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.work <- f
	<-o.done
}

func (o *outside) end() { close(o.work) }

// of runs f outside, with a context that does not end, and returns its answer.
func of[T any](o *outside, f func(ctx context.Context) (T, error)) (answer T, err error) {
	o.do(func() { answer, err = f(context.Background()) })
	return answer, err
}

// by is the same without an answer.
func by(o *outside, f func(ctx context.Context) error) (err error) {
	o.do(func() { err = f(context.Background()) })
	return err
}

// outerDisks are disks whose devices are real.
type outerDisks struct {
	disks simulator.Disks
	o     *outside
}

// Ensure makes the disk.
func (d outerDisks) Ensure(_ context.Context, id string, size int64) error {
	return by(d.o, func(ctx context.Context) error { return d.disks.Ensure(ctx, id, size) })
}

// Plug gives the disk to the instance.
func (d outerDisks) Plug(_ context.Context, id, serial, instance string) error {
	return by(d.o, func(ctx context.Context) error { return d.disks.Plug(ctx, id, serial, instance) })
}

// Unplug takes it away.
func (d outerDisks) Unplug(_ context.Context, id, instance string) error {
	return by(d.o, func(ctx context.Context) error { return d.disks.Unplug(ctx, id, instance) })
}

// Refresh shows the present size.
func (d outerDisks) Refresh(_ context.Context, id string) error {
	return by(d.o, func(ctx context.Context) error { return d.disks.Refresh(ctx, id) })
}

// Remove deletes the disk.
func (d outerDisks) Remove(_ context.Context, id string) error {
	return by(d.o, func(ctx context.Context) error { return d.disks.Remove(ctx, id) })
}

// Plugged is what is plugged.
func (d outerDisks) Plugged(context.Context) (map[string]string, error) {
	return of(d.o, func(ctx context.Context) (map[string]string, error) { return d.disks.Plugged(ctx) })
}

// Files are all disks.
func (d outerDisks) Files(context.Context) ([]string, error) {
	return of(d.o, func(ctx context.Context) ([]string, error) { return d.disks.Files(ctx) })
}

// Snapshot copies a disk.
func (d outerDisks) Snapshot(_ context.Context, snapshot, id string) error {
	return by(d.o, func(ctx context.Context) error { return d.disks.Snapshot(ctx, snapshot, id) })
}

// Restore makes a disk from a copy.
func (d outerDisks) Restore(_ context.Context, id, snapshot string) error {
	return by(d.o, func(ctx context.Context) error { return d.disks.Restore(ctx, id, snapshot) })
}

// RemoveSnapshot deletes a copy.
func (d outerDisks) RemoveSnapshot(_ context.Context, snapshot string) error {
	return by(d.o, func(ctx context.Context) error { return d.disks.RemoveSnapshot(ctx, snapshot) })
}

// Snapshots are all copies.
func (d outerDisks) Snapshots(context.Context) ([]string, error) {
	return of(d.o, func(ctx context.Context) ([]string, error) { return d.disks.Snapshots(ctx) })
}

// Forget removes what there is for an instance.
func (d outerDisks) Forget(_ context.Context, instance string) error {
	return by(d.o, func(ctx context.Context) error { return d.disks.Forget(ctx, instance) })
}

// outerShares are file systems whose directories are real.
type outerShares struct {
	shares simulator.FileSystems
	o      *outside
}

// Ensure makes the file system.
func (s outerShares) Ensure(_ context.Context, id string) error {
	return by(s.o, func(ctx context.Context) error { return s.shares.Ensure(ctx, id) })
}

// Attach shows it to the instance.
func (s outerShares) Attach(_ context.Context, id string, tag int, instance string) error {
	return by(s.o, func(ctx context.Context) error { return s.shares.Attach(ctx, id, tag, instance) })
}

// Detach takes it away.
func (s outerShares) Detach(_ context.Context, id string, tag int, instance string) error {
	return by(s.o, func(ctx context.Context) error { return s.shares.Detach(ctx, id, tag, instance) })
}

// Used is how much its content takes.
func (s outerShares) Used(_ context.Context, id string) (int64, error) {
	return of(s.o, func(ctx context.Context) (int64, error) { return s.shares.Used(ctx, id) })
}

// Remove deletes it.
func (s outerShares) Remove(_ context.Context, id string) error {
	return by(s.o, func(ctx context.Context) error { return s.shares.Remove(ctx, id) })
}

// Attached is what instances have.
func (s outerShares) Attached(context.Context) ([]simulator.FileSystemAttachment, error) {
	return of(s.o, func(ctx context.Context) ([]simulator.FileSystemAttachment, error) { return s.shares.Attached(ctx) })
}

// List are all file systems.
func (s outerShares) List(context.Context) ([]string, error) {
	return of(s.o, func(ctx context.Context) ([]string, error) { return s.shares.List(ctx) })
}

// Forget removes what there is for an instance.
func (s outerShares) Forget(_ context.Context, instance string) error {
	return by(s.o, func(ctx context.Context) error { return s.shares.Forget(ctx, instance) })
}
