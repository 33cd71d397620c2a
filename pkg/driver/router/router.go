// Package router finds the kind of storage behind an ID. The kind is never part of an ID: those that the official
// driver wrote into PersistentVolumes are the platform's bare UUIDs for every kind.
package router

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/lru"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// remembered bounds the memory for kinds; an entry takes about 200 bytes.
const remembered = 10000

// Router hands operations to the backend of a volume's kind. It is safe for concurrent use.
type Router struct {
	backends []volume.Backend
	finders  []volume.Finder
	kinds    *lru.Cache // ID -> volume.Finder; the platform gives an ID to one object only, ever
	gone     *lru.Cache // IDs that are proven to name nothing any more
}

// New makes a router. Backends are asked in their order, then the finders: those recognise kinds that exist in the
// account but that this version does not handle, whose volumes must not be taken for gone.
func New(backends []volume.Backend, unsupported ...volume.Finder) *Router {
	r := &Router{backends: backends, kinds: lru.New(remembered), gone: lru.New(remembered)}
	for _, b := range backends {
		r.finders = append(r.finders, b)
	}
	r.finders = append(r.finders, unsupported...)
	return r
}

// For returns the backend of a kind, for a volume that does not exist yet.
func (r *Router) For(kind volume.Kind) (volume.Backend, error) {
	var supported []string
	for _, b := range r.backends {
		if b.Kind() == kind {
			return b, nil
		}
		supported = append(supported, string(b.Kind()))
	}
	return nil, volume.Errorf(volume.Invalid, "storage type %q is not supported by this version, only %s is", kind, strings.Join(supported, ", "))
}

// prover is a backend that can tell whether what it lacks proves anything.
type prover interface {
	// Proven returns nil if the account that is read is proven to be the cluster's, at the time given or later.
	Proven(ctx context.Context, since time.Time) error
}

// Of returns the backend that has the volume. The error is NotFound only when it is proven that no kind has it, and
// InUse when a kind has it that this version does not handle.
func (r *Router) Of(ctx context.Context, id string) (volume.Backend, error) {
	asked := time.Now()
	b, err := r.of(ctx, id)
	if volume.ReasonOf(err) != volume.NotFound {
		return b, err
	}
	for _, b := range r.backends {
		p, can := b.(prover)
		if !can {
			continue
		}
		if doubt := p.Proven(ctx, asked); doubt != nil {
			return nil, volume.Errorf(volume.Busy, "volume %s is not found, which proves nothing: %w", id, doubt)
		}
		break // all are of one account
	}
	return nil, err
}

// of is Of for those who prove by themselves that there is no volume.
func (r *Router) of(ctx context.Context, id string) (volume.Backend, error) {
	f, err := r.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if b, ok := f.(volume.Backend); ok {
		return b, nil
	}
	return nil, volume.Errorf(volume.InUse, "volume %s is of storage type %q, which this version does not handle. It is left as it is: "+
		"use the driver that made it to detach and delete it", id, f.Kind())
}

func (r *Router) find(ctx context.Context, id string) (volume.Finder, error) {
	known, _ := r.kinds.Get(id)
	if f, ok := known.(volume.Finder); ok {
		return f, nil
	}
	for _, f := range r.finders {
		has, err := f.Has(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("finding out what volume %s is: %w", id, err)
		}
		if has {
			r.kinds.Add(id, f)
			return f, nil
		}
	}
	return nil, volume.Errorf(volume.NotFound, "volume %s does not exist", id)
}

// Attach gives the volume to the instance, if its kind can be used so. When nobody knows what the ID is, the order itself
// finds out: the platform gives an ID to one object only, so that what a kind could attach is of that kind. It costs less
// than to find out first. An ID that no kind could attach is looked for.
func (r *Router) Attach(ctx context.Context, id, instance string, accesses []volume.Access) (volume.Attachment, error) {
	tried := map[volume.Backend]error{}
	_, known := r.kinds.Get(id)
	for _, b := range r.backends {
		if known || b.CheckAccess(accesses) != nil {
			break // what is wrong is for the volume's own kind to say
		}
		a, err := attach(ctx, b, id, instance, accesses)
		if err == nil {
			r.kinds.Add(id, volume.Finder(b))
		}
		if volume.ReasonOf(err) != volume.NotFound {
			return a, err
		}
		tried[b] = err
	}
	b, err := r.of(ctx, id)
	if err == nil && tried[b] != nil {
		err = tried[b] // it has the volume, so it is the instance that does not exist
	}
	if err == nil {
		err = b.CheckAccess(accesses)
	}
	if err != nil {
		return volume.Attachment{}, err
	}
	return attach(ctx, b, id, instance, accesses)
}

// attach gives the volume to the instance. Where several instances can have a volume, nobody but the driver keeps it for
// the one for which it is meant.
func attach(ctx context.Context, b volume.Backend, id, instance string, accesses []volume.Access) (volume.Attachment, error) {
	sharer, can := b.(volume.Sharer)
	if can && slices.ContainsFunc(accesses, func(a volume.Access) bool { return a.Mode.SingleNode() }) {
		return sharer.AttachAlone(ctx, id, instance)
	}
	return b.Attach(ctx, id, instance)
}

// Detach takes the volume from the instance, "" for every one that has it. A volume that no kind shows is still detached
// by every kind: reads alone are no proof that there is nothing to detach.
func (r *Router) Detach(ctx context.Context, id, instance string) error {
	b, err := r.of(ctx, id)
	if err == nil {
		return b.Detach(ctx, id, instance)
	}
	if volume.ReasonOf(err) != volume.NotFound {
		return err
	}
	for _, b := range r.backends {
		if err := b.Detach(ctx, id, instance); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes the volume; one that is proven not to exist is success. When nobody knows what the ID is, reads are no
// such proof, as they may lack what is new: the platform's answer to the delete itself is. It also costs less than to find
// out first. What was deleted stays so, because an ID is given once, and costs no call to delete again.
func (r *Router) Delete(ctx context.Context, id string) error {
	if _, is := r.gone.Get(id); is {
		return nil
	}
	err := r.remove(ctx, id)
	if err == nil {
		r.gone.Add(id, nil)
	}
	return err
}

func (r *Router) remove(ctx context.Context, id string) error {
	if _, known := r.kinds.Get(id); known {
		b, err := r.of(ctx, id)
		if err != nil {
			return err
		}
		if err := b.Delete(ctx, id); volume.ReasonOf(err) != volume.NotFound {
			return err
		}
		return nil
	}
	for _, b := range r.backends {
		if err := b.Delete(ctx, id); volume.ReasonOf(err) != volume.NotFound {
			return err // deleted, or refused by the kind that has it
		}
	}
	// No supported kind has it.
	for _, f := range r.finders[len(r.backends):] {
		has, err := f.Has(ctx, id)
		if err != nil {
			return fmt.Errorf("finding out what volume %s is: %w", id, err)
		}
		if has {
			r.kinds.Add(id, f)
			_, err = r.of(ctx, id)
			return err
		}
	}
	return nil
}

// Made notes the kind of a volume that was just made or found, so that nobody has to ask.
func (r *Router) Made(v volume.Volume) {
	for _, b := range r.backends {
		if b.Kind() == v.Kind {
			r.kinds.Add(v.ID, volume.Finder(b))
		}
	}
}

// List returns the volumes of all supported kinds, ordered by ID. If one kind cannot be listed there is no answer: a
// volume that a list lacks counts as detached.
func (r *Router) List(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error) {
	return r.list(func(b volume.Backend) ([]volume.Volume, error) { return b.List(ctx, maxAge) })
}

// ListBare is List for those to whom it does not matter which instances have the volumes: of kinds for which that costs calls
// it is left out.
func (r *Router) ListBare(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error) {
	return r.list(func(b volume.Backend) ([]volume.Volume, error) {
		if bare, can := b.(volume.BareLister); can {
			return bare.ListBare(ctx, maxAge)
		}
		return b.List(ctx, maxAge)
	})
}

func (r *Router) list(of func(volume.Backend) ([]volume.Volume, error)) ([]volume.Volume, error) {
	var all []volume.Volume
	for _, b := range r.backends {
		some, err := of(b)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b volume.Volume) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}
