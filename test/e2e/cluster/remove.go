package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/loop"
)

// removeTimeout is how long the kernel may take to release a run's things.
const removeTimeout = 2 * time.Minute

// remove takes away everything of a run, whatever state it is in. Killing the
// processes ends its namespaces, and with these go mounts, links, addresses,
// firewall rules and sysctls.
func (r *Run) remove(ctx context.Context) error {
	// A clean-up that was begun is finished also when the user presses Ctrl-C again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := cgroup.Kill(ctx, r.cgroup()); err != nil {
		return err
	}
	files, err := loop.Files(r.Dir)
	if err != nil {
		return err
	}
	mine := func(all []loop.Device) []loop.Device { return loop.Backed(files, all) }
	if err := loop.Clear(ctx, mine); err != nil {
		return err
	}
	if err := cgroup.Remove(ctx, r.cgroup()); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(r.Dir), r.unlock())
}

// RemoveDead removes the runs whose owner was killed.
func RemoveDead(ctx context.Context, cacheDir string, out io.Writer) error {
	all, err := runs(cacheDir)
	if err != nil {
		return err
	}
	for _, r := range all {
		locked, err := r.tryLock("clean-up")
		if err != nil {
			return err
		}
		if !locked {
			continue
		}
		_, _ = fmt.Fprintf(out, "removing the cluster %s, whose program was killed\n", r.ID)
		if err := r.remove(ctx); err != nil {
			return fmt.Errorf("remove the cluster %s: %w", r.ID, err)
		}
	}
	return nil
}

// Runs lists the IDs of all clusters that there are, in whatever state.
func Runs(cacheDir string) ([]string, error) {
	all, err := runs(cacheDir)
	var ids []string
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	return ids, err
}

// RemoveAll removes the runs that were left running on purpose and those whose
// owner was killed, but for those named. What a program is using right now is left
// alone and named.
func RemoveAll(ctx context.Context, cacheDir string, out io.Writer, but ...string) error {
	all, err := runs(cacheDir)
	if err != nil {
		return err
	}
	for _, r := range all {
		if slices.Contains(but, r.ID) {
			continue
		}
		if o := r.owner(); o.What == forwarding {
			_, _ = fmt.Fprintf(out, "removing the cluster %s\n", r.ID)
			// The forwarder holds the lock; it dies with the rest of the run.
			if err := cgroup.Kill(ctx, r.cgroup()); err != nil {
				return err
			}
		}
		locked, err := r.tryLock("clean-up")
		if err != nil {
			return err
		}
		if !locked {
			o := r.owner()
			_, _ = fmt.Fprintf(out, "leaving the cluster %s alone: process %d (%s) is using it\n", r.ID, o.PID, o.What)
			continue
		}
		if err := r.remove(ctx); err != nil {
			return fmt.Errorf("remove the cluster %s: %w", r.ID, err)
		}
	}
	return nil
}
