package blockfs

import (
	"os"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
)

// Formatter makes file systems. Only a few at a time: each needs memory for its tables, and the node plugin has a
// limit.
type Formatter struct{ turns longwork.Turns }

// NewFormatter returns a formatter that runs at most n at a time.
func NewFormatter(n int) *Formatter { return &Formatter{longwork.NewTurns(n)} }

// Make makes the file system. Waiting for a turn can take long, and its tool gets no more than a path, so when the
// turn has come the device is held open, which keeps its number from going to another disk, and prove is asked
// whether it is still the one that was judged, and told whether there was a wait. Unless it is to overwrite, mkfs.xfs itself
// refuses a device that holds something, as a last guard.
func (f *Formatter) Make(task *longwork.Task, d device.Device, t filesystem.Type, w filesystem.Wish, prove func(waited bool) error) error {
	ctx := task.Context()
	done, free := f.turns.Try()
	if !free {
		var err error
		if ctx, done, err = f.turns.Take(task, "make the file system on "+d.Path); err != nil {
			return err
		}
	}
	defer done()
	held, err := device.Open(d, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer held.Close() //nolint:errcheck // only held
	if err := prove(!free); err != nil {
		return err
	}
	if err := step.At(ctx, step.MkfsFirst); err != nil {
		return err
	}
	if step.Wanted(step.MkfsHalf) {
		if err := makeHalf(ctx, d, t, w); err != nil {
			return err
		}
		if err := step.At(ctx, step.MkfsHalf); err != nil {
			return err
		}
		w.Overwrite = true
	}
	if err := t.Make(d.Path, w).Run(task, d); err != nil {
		return err
	}
	return step.At(task.Context(), step.MkfsDone)
}
