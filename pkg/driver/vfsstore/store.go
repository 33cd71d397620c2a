// Package vfsstore keeps volumes as shared file systems (VFS) of the platform, which any number of instances of a region
// can have at once.
//
// Which file system a name means, what is made, what is a duplicate and what is gone follows the rules of block storage,
// and the code of package blockstore. What is different here are attachments: each is an object of its own, named by file
// system and instance, with a state and a mount tag. Orders name both, so that none can hit another instance, and the
// platform itself refuses to delete what is attached. Reads lag here as well: an order's own answer proves more than a
// read, and absence is proven by the answer to a detach.
package vfsstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what the store needs of the platform.
type API interface {
	account.API
	FileSystems
	Attachments
	Instance(ctx context.Context, id string) (vultr.Instance, error)
	SettleTime() time.Duration
}

// FileSystems are reads of file systems and orders that concern them alone.
type FileSystems interface {
	FileSystemRegions(ctx context.Context) ([]string, error)
	FileSystemNow(ctx context.Context, id string) (vultr.FileSystem, time.Time, error)
	FileSystemListed(ctx context.Context, id string, maxAge time.Duration) (vultr.FileSystem, time.Time, error)
	FileSystems(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.FileSystem], error)
	WaitFileSystem(ctx context.Context, id string, done func(vultr.FileSystem) (bool, error)) (vultr.FileSystem, error)
	WaitFileSystemListed(ctx context.Context, id string, missing time.Duration, done func(vultr.FileSystem) (bool, error)) (vultr.FileSystem, vultr.List[vultr.FileSystem], error)
	CreateFileSystem(ctx context.Context, r vultr.FileSystemRequest) (vultr.FileSystem, error)
	RelabelFileSystem(ctx context.Context, id, label string) error
	ResizeFileSystem(ctx context.Context, id string, sizeGB int) error
	ChangeFileSystem(ctx context.Context, id string, sizeGB int, label string) error
	DeleteFileSystem(ctx context.Context, id string, preconditions ...vultr.Precondition) error
}

// Attachments are the file systems that instances have.
type Attachments interface {
	FileSystemAttachments(ctx context.Context, id string, maxAge time.Duration) (vultr.List[vultr.FileSystemAttachment], error)
	AttachFileSystem(ctx context.Context, id, instanceID string, preconditions ...vultr.Precondition) (vultr.FileSystemAttachment, error)
	DetachFileSystem(ctx context.Context, id, instanceID string) error
	WaitFileSystemAttachment(ctx context.Context, id, instanceID string, done func(vultr.FileSystemAttachment) (bool, error)) (vultr.FileSystemAttachment, error)
}

// Store is shared file systems as a kind of volumes. It is safe for concurrent use, and any number of processes may use the
// same account.
type Store struct {
	api API
	// base knows which file system a name means, and what is gone.
	base      *blockstore.Store
	account   *account.Account
	window    time.Duration
	lookAgain time.Duration
	book      book
}

var (
	_ volume.Backend    = (*Store)(nil)
	_ volume.BareLister = (*Store)(nil)
	_ volume.Sharer     = (*Store)(nil)
	_ volume.Seller     = (*Store)(nil)
	_ volume.Examiner   = (*Store)(nil)
	_ volume.Modifier   = (*Store)(nil)
)

// Options are those of block storage; the medium is this package's.
type Options = blockstore.Options

// clusterTag begins the tag of a cluster's file systems, for people and their bills: what is whose is read from the labels, as
// of block storage, which has no tags.
const clusterTag = "csi-cluster-"

// New makes a store.
func New(api API, opts Options) *Store {
	if opts.Account == nil {
		opts.Account = account.New(api, nil)
	}
	s := &Store{
		api: api, account: opts.Account,
		window: cmp.Or(opts.AttachWindow, 30*time.Second), lookAgain: cmp.Or(opts.LookAgain, 3*time.Second),
	}
	s.book.window = s.window
	opts.Medium = blockstore.Medium{
		Kind: volume.VFS, Words: "shared file system", Sold: api.FileSystemRegions, Free: s.free, Unused: s.unused,
	}
	disks := asDisks{API: api}
	if opts.Cluster != "" {
		disks.tags = []string{clusterTag + string(opts.Cluster)}
	}
	s.base = blockstore.New(disks, opts)
	return s
}

// Kind is volume.VFS.
func (s *Store) Kind() volume.Kind { return volume.VFS }

// Has reports whether the ID is a file system.
func (s *Store) Has(ctx context.Context, id string) (bool, error) { return s.base.Has(ctx, id) }

// Create makes the file system that the spec describes, or finds it, and waits until it can be used.
func (s *Store) Create(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	v, err := s.base.Create(ctx, spec)
	return shared(v, nil), err
}

// Delete removes the file system. An attached one is refused, never detached.
func (s *Store) Delete(ctx context.Context, id string) error { return s.base.Delete(ctx, id) }

// shared is a volume of package blockstore as one of this kind.
func shared(v volume.Volume, attachedTo []string) volume.Volume {
	v.Kind, v.AttachedTo = volume.VFS, attachedTo
	return v
}

// looksFor is how old a look at attachments may be on which an order is based.
const looksFor = time.Second

// free is the precondition of a delete: no instance has the file system, as far as is known here; the platform judges as
// well. What is not found is left to the delete itself, whose 404 is proof.
func (s *Store) free(id string) vultr.Precondition {
	return func(ctx context.Context) error {
		list, err := s.api.FileSystemAttachments(ctx, id, looksFor)
		switch {
		case vultr.IsNotFound(err):
			return nil
		case err != nil:
			return refusal.OfRead(err, "looking for instances that have file system %s", id)
		case len(list.Items) == 0:
			return nil
		}
		for _, a := range list.Items {
			if !isLeaving(a) {
				return volume.Errorf(volume.InUse, "volume %s is attached to instance %s and is not deleted before it is detached", id, strings.Join(instancesOf(list.Items), ", "))
			}
		}
		return volume.Errorf(volume.Busy, "volume %s is being detached from instance %s and is deleted when that is over", id, strings.Join(instancesOf(list.Items), ", "))
	}
}

// unused reports whether a duplicate is empty by the platform's own count, and attached nowhere.
func (s *Store) unused(ctx context.Context, id string) (bool, error) {
	f, _, err := s.api.FileSystemNow(ctx, id)
	if err != nil || f.UsedBytes > 0 {
		return false, err
	}
	list, err := s.api.FileSystemAttachments(ctx, id, 0)
	return err == nil && len(list.Items) == 0, err
}

// Read returns one file system as it is now, with the instances that have it.
func (s *Store) Read(ctx context.Context, id string) (volume.Volume, error) {
	v, err := s.base.Read(ctx, id)
	if err != nil {
		return volume.Volume{}, err
	}
	list, err := s.attachments(ctx, id, 0)
	return shared(v, instancesOf(list)), err
}

// attachments lists the attachments of a file system that exists.
func (s *Store) attachments(ctx context.Context, id string, maxAge time.Duration) ([]vultr.FileSystemAttachment, error) {
	list, err := s.api.FileSystemAttachments(ctx, id, maxAge)
	if !vultr.IsNotFound(err) {
		return list.Items, refusal.OfRead(err, "looking for instances that have file system %s", id)
	}
	if _, err := s.base.Read(ctx, id); err != nil {
		return nil, err
	}
	return nil, volume.Errorf(volume.Busy, "file system %s is shown by one read and not by another, it is looked at again: %w", id, err)
}

// atOnce is how many file systems are asked for their attachments at a time.
const atOnce = 4

// List returns all file systems with the instances that have them. The platform lists attachments by file system only, so
// that this costs a call for each, a few at a time; whoever accepts an older answer shares them.
func (s *Store) List(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error) {
	list, err := s.base.List(ctx, maxAge)
	if err != nil {
		return nil, err
	}
	all := make([]volume.Volume, len(list))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, v := range list {
		group.Go(func() error {
			attached, err := s.attachments(ctx, v.ID, maxAge)
			if volume.ReasonOf(err) == volume.NotFound {
				return nil // deleted meanwhile
			}
			all[i] = shared(v, instancesOf(attached))
			return err
		})
	}
	err = group.Wait()
	return slices.DeleteFunc(all, func(v volume.Volume) bool { return v.ID == "" }), err
}

// ListBare returns all file systems without the instances that have them, which is one list.
func (s *Store) ListBare(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error) {
	list, err := s.base.List(ctx, maxAge)
	for i := range list {
		list[i] = shared(list[i], nil)
	}
	return list, err
}

// CheckModify judges mutable parameters: as of block storage, the label alone can be changed, by a note.
func (s *Store) CheckModify(name string, parameters map[string]string) error {
	return s.base.CheckModify(name, parameters)
}

// Modify adds a note to the label, or takes it away.
func (s *Store) Modify(ctx context.Context, id string, parameters map[string]string) error {
	return s.base.Modify(ctx, id, parameters)
}

// Examine returns what the platform shows to be wrong with the file system: its status. An instance that is gone and has it
// still keeps it from nobody.
func (s *Store) Examine(ctx context.Context, id string) ([]volume.Condition, error) {
	return s.base.Examine(ctx, id)
}

// ExamineAll returns what the platform shows to be wrong with any file system, by the list that all share.
func (s *Store) ExamineAll(ctx context.Context, maxAge time.Duration) (map[string][]volume.Condition, error) {
	return s.base.ExamineAll(ctx, maxAge)
}

// checkAlone judges whether the instance may have the file system for itself. That reads show no other instance is not enough:
// they may be older than what a caller was told of.
func (s *Store) checkAlone(ctx context.Context, id, instance string) error {
	all, err := s.attachments(ctx, id, looksFor)
	if err != nil {
		return err
	}
	for _, a := range all {
		switch {
		case strings.EqualFold(a.InstanceID, instance):
		case isLeaving(a):
			return volume.Errorf(volume.Busy, "volume %s is being detached from instance %s, and may be at one instance at a time by its access mode", id, a.InstanceID)
		default:
			return volume.Errorf(volume.InUse, "volume %s is attached to instance %s and cannot be attached to %s as well: its access mode allows one node at a time (ReadWriteMany allows several)",
				id, a.InstanceID, instance)
		}
	}
	if other := s.book.elsewhere(keyOf(id, instance)); other != "" {
		return volume.Errorf(volume.Busy, "volume %s was attached to instance %s a moment ago and a read does not show it, which may be an old one; its access mode allows one node at a time",
			id, other)
	}
	return nil
}

// bounds are the sizes that are sold. How large a file system can be is not documented.
var bounds = volume.Bounds{Min: 10, Default: 10}

// Expand grows the file system into the range and waits until the platform shows the new size. When it is large enough
// nothing is changed. The node has nothing to do.
func (s *Store) Expand(ctx context.Context, id string, c volume.Capacity) (grown volume.Volume, nodeStep bool, err error) {
	sent := s.base.Expanding(id)
	defer sent()
	f, _, err := s.api.FileSystemListed(ctx, id, 0)
	if vultr.IsNotFound(err) {
		return volume.Volume{}, false, s.lacking(ctx, id, err)
	}
	if err != nil {
		return volume.Volume{}, false, refusal.OfRead(err, "reading file system %s", id)
	}
	// The platform would make it smaller, and an older read may not show what this process has grown it to.
	present := max(int64(f.SizeGB), s.book.size(id))
	size, err := bounds.Grow(words, present, c)
	if err != nil {
		return volume.Volume{}, false, err
	}
	if size > present {
		err := s.base.Resize(ctx, id, f.Label, int(size))
		if vultr.IsNotFound(err) { // it looks by a single read first, which may be older than the list
			return volume.Volume{}, false, s.lacking(ctx, id, err)
		}
		if err != nil {
			return volume.Volume{}, false, refusal.OfChange(err, "growing file system %s from %d to %d GiB", id, present, size)
		}
		s.book.grew(id, size)
	}
	sent()
	if int64(f.SizeGB) < size {
		f, err = s.api.WaitFileSystem(ctx, id, func(f vultr.FileSystem) (bool, error) { return int64(f.SizeGB) >= size, nil })
		if err != nil {
			return volume.Volume{}, false, refusal.OfRead(err, "waiting for file system %s to have %d GiB", id, size)
		}
	}
	return volumeOf(f), false, nil
}

// lacking is the error for a file system that one read lacks. Whether that proves anything is for all of them to say.
func (s *Store) lacking(ctx context.Context, id string, cause error) error {
	if _, err := s.base.Read(ctx, id); err != nil {
		return err
	}
	return volume.Errorf(volume.Busy, "file system %s is shown by one read and not by another, it is looked at again: %w", id, cause)
}
