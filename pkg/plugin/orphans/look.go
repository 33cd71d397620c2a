package orphans

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Lister lists what the account has.
type Lister interface {
	account.API
	LoadBalancers(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.LoadBalancer], error)
	Volumes(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Volume], error)
	FileSystems(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.FileSystem], error)
	FileSystemAttachments(ctx context.Context, id string, maxAge time.Duration) (vultr.List[vultr.FileSystemAttachment], error)
	Snapshots(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Snapshot], error)
}

// Search looks for orphans. A Search is for one goroutine.
type Search struct {
	API     Lister
	Cluster *kube.Cluster
	// ID is the cluster's, as in the labels of its volumes.
	ID ownership.Cluster
	// MinAge is how old an orphan must be.
	MinAge time.Duration
	// Now returns the time; nil is time.Now.
	Now func() time.Time
}

// Result is what a look found.
type Result struct {
	Orphans []Orphan
	// Unknown are the kinds that could not be looked at, each with the reason. Of those there are no Orphans.
	Unknown []error
}

// Look lists the account and the cluster as they are now. When the cluster cannot be read, or the account is not proven to be
// the cluster's, nothing is an orphan, and that is an error.
func (s *Search) Look(ctx context.Context) (Result, error) {
	var r Result
	in := s.account(ctx, &r)
	if err := s.cluster(ctx, &in, &r); err != nil {
		return Result{}, err
	}
	if err := s.prove(ctx, in.Nodes); err != nil {
		return Result{}, err
	}
	// Attachments take a call for each file system, so only those are asked that nothing uses.
	if r.Unknown = append(r.Unknown, s.shared(ctx, &in)...); ctx.Err() != nil {
		return Result{}, fmt.Errorf("looking for orphans: %w", context.Cause(ctx))
	}
	r.Orphans = Find(in)
	return r, nil
}

func (s *Search) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// account lists what the account has. What cannot be listed is left out and told.
func (s *Search) account(ctx context.Context, r *Result) Input {
	in := Input{Cluster: s.ID, MinAge: s.MinAge, Now: s.now(), Shared: map[string][]vultr.FileSystemAttachment{}}
	balancers, err := s.API.LoadBalancers(ctx, 0)
	r.unknown(LoadBalancer, err)
	in.LoadBalancers = balancers.Items
	blocks, err := s.API.Volumes(ctx, 0)
	r.unknown(Block, err)
	in.Blocks = blocks.Items
	systems, err := s.API.FileSystems(ctx, 0)
	r.unknown(FileSystem, err)
	in.FileSystems = systems.Items
	snapshots, err := s.API.Snapshots(ctx, 0)
	r.unknown(Snapshot, err)
	in.Snapshots = snapshots.Items
	return in
}

func (r *Result) unknown(kind Kind, err error) {
	if err != nil {
		r.Unknown = append(r.Unknown, fmt.Errorf("%ss: %w", kind, err))
	}
}

// cluster lists what the cluster uses.
func (s *Search) cluster(ctx context.Context, in *Input, r *Result) error {
	var err error
	if in.Nodes, err = s.Cluster.Nodes(ctx); err != nil {
		return err
	}
	if in.Services, err = s.Cluster.Services(ctx, ""); err != nil {
		return err
	}
	if in.PVs, err = s.Cluster.Volumes(ctx); err != nil {
		return err
	}
	if in.Claims, err = s.Cluster.Claims(ctx, ""); err != nil {
		return err
	}
	record, err := s.Cluster.Ledger(ctx)
	if err != nil {
		return err
	}
	in.Entries = record.All()
	if in.Use, err = s.Cluster.Snapshots(ctx); err != nil {
		r.unknown(Snapshot, err)
		in.Snapshots = nil
	}
	return nil
}

// prove returns an error unless the account shows an instance of the cluster: with the key of another account nothing that is
// found would be the cluster's.
func (s *Search) prove(ctx context.Context, nodes []*v1.Node) error {
	members := slices.Sorted(maps.Keys(kube.Instances(nodes)))
	if len(members) == 0 {
		return errors.New("no Node of the cluster has a provider ID of this cloud, so nothing proves that the account is the cluster's")
	}
	proof := account.New(s.API, func(context.Context) ([]string, error) { return members, nil })
	if err := proof.Check(ctx, time.Now(), members...); err != nil {
		return fmt.Errorf("nothing is an orphan before the account is proven to be the cluster's: %w", err)
	}
	return nil
}

// shared lists the attachments of the file systems that nothing in the cluster uses. One whose attachments are not known is no
// orphan.
func (s *Search) shared(ctx context.Context, in *Input) (unknown []error) {
	unused := in.unused()
	in.FileSystems = slices.DeleteFunc(slices.Clone(in.FileSystems), func(f vultr.FileSystem) bool {
		if !unused(f.ID, f.Label) {
			return true
		}
		list, err := s.API.FileSystemAttachments(ctx, f.ID, 0)
		if err != nil {
			unknown = append(unknown, fmt.Errorf("attachments of %s %s: %w", FileSystem, f.ID, err))
			return true
		}
		in.Shared[f.ID] = list.Items
		return false
	})
	return unknown
}

// Deleter deletes what the account has.
type Deleter interface {
	LoadBalancer(ctx context.Context, id string) (vultr.LoadBalancer, error)
	Volume(ctx context.Context, id string) (vultr.Volume, error)
	FileSystem(ctx context.Context, id string) (vultr.FileSystem, error)
	Snapshot(ctx context.Context, id string) (vultr.Snapshot, error)
	DeleteLoadBalancerIf(ctx context.Context, id string, preconditions ...vultr.Precondition) error
	DeleteVolume(ctx context.Context, id string, preconditions ...vultr.Precondition) error
	DeleteFileSystem(ctx context.Context, id string, preconditions ...vultr.Precondition) error
	DeleteSnapshot(ctx context.Context, id string, preconditions ...vultr.Precondition) error
}

// ErrUsed is why something was not deleted that had been an orphan a moment ago.
var ErrUsed = errors.New("it is no longer an orphan")

// Delete deletes an orphan that a person has confirmed. Right before each attempt everything is looked at again: the orphan
// must still be one, unchanged and unattached. It reports whether the orphan was gone before.
func (s *Search) Delete(ctx context.Context, api Deleter, o Orphan) (gone bool, err error) {
	holds := func(ctx context.Context) error { return s.still(ctx, api, o) }
	// Asked here too, for the transport's own question comes only when it is the request's turn, and a person waits.
	if err = holds(ctx); err == nil {
		switch o.Kind {
		case LoadBalancer:
			err = api.DeleteLoadBalancerIf(ctx, o.ID, holds)
		case Block:
			err = api.DeleteVolume(ctx, o.ID, holds)
		case FileSystem:
			err = api.DeleteFileSystem(ctx, o.ID, holds)
		case Snapshot:
			err = api.DeleteSnapshot(ctx, o.ID, holds)
		}
	}
	switch {
	case vultr.IsNotFound(err) && !vultr.IsOutcomeUnknown(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("%s %s was not deleted: %w", o.Kind, o.ID, err)
	}
	return false, nil
}

// still returns an error unless the orphan is what it was when a person confirmed its deletion.
func (s *Search) still(ctx context.Context, api Deleter, o Orphan) error {
	label, attached, err := read(ctx, api, o)
	switch {
	case err != nil:
		return err
	case label != o.Label:
		return fmt.Errorf("%w: it is called %q now, it was %q", ErrUsed, label, o.Label)
	case attached != "":
		return fmt.Errorf("%w: it is attached to instance %s", ErrUsed, attached)
	}
	now, err := s.Look(ctx)
	if err != nil {
		return err
	}
	found := Get(now.Orphans, o.ID)
	switch {
	case found == nil && len(now.Unknown) > 0:
		return fmt.Errorf("whether it is still an orphan is not known: %w", errors.Join(now.Unknown...))
	case found == nil:
		return fmt.Errorf("%w: something in the cluster uses it now", ErrUsed)
	case found.Kept != "":
		return fmt.Errorf("%w: %s", ErrUsed, found.Kept)
	}
	return nil
}

// read reads the orphan itself, as no list shows it.
func read(ctx context.Context, api Deleter, o Orphan) (label, attached string, err error) {
	switch o.Kind {
	case LoadBalancer:
		lb, err := api.LoadBalancer(ctx, o.ID)
		return lb.Label, "", err //nolint:wrapcheck // Delete says what was tried
	case Block:
		b, err := api.Volume(ctx, o.ID)
		return b.Label, b.AttachedTo, err //nolint:wrapcheck // Delete says what was tried
	case FileSystem:
		f, err := api.FileSystem(ctx, o.ID)
		return f.Label, "", err //nolint:wrapcheck // Delete says what was tried
	case Snapshot:
		snapshot, err := api.Snapshot(ctx, o.ID)
		return snapshot.Description, "", err //nolint:wrapcheck // Delete says what was tried
	}
	return "", "", fmt.Errorf("unknown kind %q", strings.TrimSpace(string(o.Kind)))
}
