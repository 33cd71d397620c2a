// Package vfsstage brings shared file systems (VFS) to the pods of a node: from the tag, by which the platform shows a
// file system to its guest, to the mount at the staging path, and by a bind to each pod's path.
//
// There is no device to look for, nothing to format, check or grow, and nothing that other nodes must be kept from. What
// can go wrong is the other end: after an event on the host a mount is dead, and every access to it fails or hangs. Such a
// mount is found by a look that is bounded, reported, and replaced when the volume is staged or published next. One that
// is well is never touched.
package vfsstage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/looks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const (
	// probePatience is how long a mount has to show that it is well.
	probePatience = 10 * time.Second
	// hangsFor is how often the patience passes until a mount that has not answered since counts as dead: a host that
	// stands still for a moment is no reason to take anything away.
	hangsFor = 12
)

// Config is what a Stager needs.
type Config struct {
	State *state.Store
	// BootID is the present boot of the machine.
	BootID string
	// Patience is how long to wait for a tag to appear.
	Patience time.Duration
	// Dir is "" on a real machine, where file systems are virtiofs. Where one kernel plays several machines, it is the
	// directory in which file systems appear, named by their tags.
	Dir string
}

// Stager brings shared file systems to pods. Its methods must not run twice at a time for one volume, except Stats.
type Stager struct {
	cfg     Config
	tags    tags
	patient time.Duration // with a mount that does not answer
	// probes are the looks at mounts and orders the other system calls under way that may hang.
	probes, orders looks.Looks
}

// New returns a Stager.
func New(cfg Config) *Stager {
	s := &Stager{cfg: cfg, tags: virtioFS{}, patient: min(probePatience, cmp.Or(cfg.Patience, probePatience))}
	if cfg.Dir != "" {
		s.tags = directories{cfg.Dir}
	}
	return s
}

// Has reports whether a shared file system is mounted at any of the paths, by what the kernel lists alone.
func (s *Stager) Has(paths ...string) (bool, error) {
	table, err := mount.Read()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(paths, func(path string) bool {
		e, mounted := table.At(path)
		if !mounted {
			return false
		}
		_, shared := s.tags.TagOf(table, e)
		return shared
	}), nil
}

var tagForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,35}$`)

// tagOf returns the tag of a volume on this node.
func tagOf(v staging.Volume) (string, error) {
	tag := v.Published[volume.ContextSerial]
	if tag == "" {
		return "", volume.Errorf(volume.Invalid, "publish context: %s is missing", volume.ContextSerial)
	}
	if !tagForm.MatchString(tag) {
		return "", volume.Errorf(volume.Invalid, "publish context: %s %q is not a mount tag", volume.ContextSerial, tag)
	}
	return tag, nil
}

// health is what a mount shows of itself.
type health struct {
	// dead says in words what is wrong, "" for a mount that is well.
	dead string
	// hangs is set when it is dead because nothing answers.
	hangs bool
}

// probe looks at a mount. The error is for what does not answer and has not for long. A look that hangs is of one mount: it
// says nothing of the mount that takes its place.
func (s *Stager) probe(ctx context.Context, e mount.Entry) (health, error) {
	answer := make(chan error, 1) // a look that comes back late leaves its answer here
	err := s.probes.Do(ctx, e.Key(), "what is mounted at "+e.Path, s.patient, func() error {
		answer <- mount.ReadRoot(e.Path)
		return nil
	})
	hanging, hangs := errors.AsType[*looks.HangingError](err)
	switch {
	case hangs && hanging.Since >= hangsFor*s.patient:
		return health{dead: hanging.Error(), hangs: true}, nil
	case hangs:
		return health{}, volume.Errorf(volume.Busy, "%w; should it stay so for %s it counts as dead", hanging, hangsFor*s.patient)
	case err != nil:
		return health{}, err
	case mount.IsDead(<-answer):
		return health{dead: "every access fails (the host has withdrawn it, or its server there has ended)"}, nil
	}
	return health{}, nil
}

// takeAway takes a dead mount from a path. What does not answer is detached lazily at once, what fails only when it
// cannot be unmounted.
func (s *Stager) takeAway(ctx context.Context, volumeID, path string, h health) error {
	klog.FromContext(ctx).Info("A mount of a shared file system is dead, taking it away", "volumeID", volumeID, "path", path, "why", h.dead, "lazily", h.hangs)
	return s.bounded(ctx, "taking away what is mounted at", path, func() error {
		if !h.hangs {
			return mount.Unmount(ctx, path)
		}
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("detaching the mount at %s, which does not answer: %w", path, err)
		}
		return nil
	})
}

// bounded runs a system call that may hang, one of a kind for each path at a time.
func (s *Stager) bounded(ctx context.Context, what, path string, fn func() error) error {
	return s.orders.Do(ctx, what+" "+path, what+" "+path, cmp.Or(s.cfg.Patience, probePatience), fn)
}

// users lists the mounts by which pods have the file system that is mounted as the entry, without those at the paths.
// Pods may have parts of it, for subPath.
func (s *Stager) users(table mount.Table, e mount.Entry, paths ...string) mount.Table {
	return slices.DeleteFunc(slices.Clone(table.Others(e.Number, paths...)), func(o mount.Entry) bool {
		inside := o.Root == e.Root || strings.HasPrefix(o.Root, strings.TrimSuffix(e.Root, "/")+"/")
		return !inside || s.tags.Shows(o)
	})
}

// same reports whether both mounts show the same file system, or the same directory of it.
func same(a, b mount.Entry) bool { return a.Number == b.Number && a.Root == b.Root }
