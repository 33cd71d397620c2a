package vfsstore

import (
	"context"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Detach takes the file system from the instance, "" for every one that has it. It is success when it is proven that the
// instance does not have it: the platform says so in its answer to a detach, which names both and so hits nobody else.
func (s *Store) Detach(ctx context.Context, id, instance string) error {
	if s.base.IsGone(id) {
		return nil
	}
	if instance == "" {
		return s.detachAll(ctx, id)
	}
	k, asked, accepted, seen := keyOf(id, instance), time.Now(), 0, false
	for {
		was, err := s.detachOnce(ctx, k)
		switch {
		case err == nil:
			seen = true // by the answer to an order: the next order is the proof that it is over
			if was == taken {
				accepted++
			}
			if accepted == mostOrders {
				// The platform accepts a detach of nothing, it seems: each time the lists showed none.
				s.book.left(k)
				return nil
			}
		case vultr.IsNotAttached(err):
			left := s.book.doubtful(k)
			if seen || left == 0 || s.instanceGone(ctx, instance) {
				s.book.left(k)
				return nil
			}
			klog.FromContext(ctx).Info("An attach may still take effect, looking for it again before the detach counts as done", "volumeID", id, "instanceID", instance, "in", left)
			err := pause(ctx, left)
			s.book.waited(k)
			if err != nil {
				return fmt.Errorf("making sure that no attach of file system %s to instance %s may still take effect: %w", id, instance, err)
			}
		case vultr.IsNotFound(err):
			return s.detachUnseen(ctx, k, asked)
		default:
			return err
		}
	}
}

// answer is what the platform answered to a detach.
type answer int

const (
	taken    answer = iota // it was accepted, and lists no longer show the attachment
	changing               // the attachment is being changed, by that or by another order
)

// mostOrders bounds the detaches that one call orders and that the platform accepts.
const mostOrders = 3

// detachOnce orders a detach and waits for its effect in lists. That the platform refuses is an error as it came, or with
// a reason.
func (s *Store) detachOnce(ctx context.Context, k key) (answer, error) {
	turn, err := s.base.Enter(ctx, k.instance)
	if err != nil {
		return 0, fmt.Errorf("waiting for other operations on instance %s: %w", k.instance, err)
	}
	defer turn.Leave()
	s.book.leaving(k)
	err = send(ctx, turn, func() error { return s.api.DetachFileSystem(ctx, k.id, k.instance) })
	turn.Settle()
	was := taken
	switch {
	case vultr.IsNotFound(err):
		return 0, err
	case vultr.IsConflict(err) && !vultr.IsLocked(err):
		was = changing
	case err != nil:
		return 0, refusal.OfChange(err, "detaching file system %s from instance %s", k.id, k.instance)
	}
	// The platform refuses to detach what is being attached, and what is being detached already.
	_, err = s.api.WaitFileSystemAttachment(ctx, k.id, k.instance, func(a vultr.FileSystemAttachment) (bool, error) {
		return a.InstanceID == "" || was == changing && a.Attached(), asFailed(a)
	})
	switch {
	case vultr.IsNotFound(err):
		return was, nil // the next order says whether it is
	case err != nil:
		return 0, refusal.OfRead(err, "waiting for file system %s to be detached from instance %s, which may have it mounted still", k.id, k.instance)
	case was == changing: // what lists show may be older than that
		if err := pause(ctx, s.lookAgain); err != nil {
			return was, fmt.Errorf("looking again at the attachment of file system %s to instance %s, which was being changed: %w", k.id, k.instance, err)
		}
	}
	return was, nil
}

// detachAll takes the file system from every instance that has it.
func (s *Store) detachAll(ctx context.Context, id string) error {
	for {
		asked := time.Now()
		list, err := s.api.FileSystemAttachments(ctx, id, 0)
		if vultr.IsNotFound(err) {
			return s.detachUnseen(ctx, keyOf(id, ""), asked)
		}
		if err != nil {
			return refusal.OfRead(err, "looking for instances that have file system %s", id)
		}
		for _, a := range list.Items {
			if err := s.Detach(ctx, id, a.InstanceID); err != nil {
				return err
			}
		}
		if len(list.Items) > 0 {
			return nil
		}
		left := s.book.doubtful(keyOf(id, ""))
		if left == 0 {
			return nil
		}
		err = pause(ctx, left)
		s.book.waited(keyOf(id, ""))
		if err != nil {
			return fmt.Errorf("making sure that no attach of file system %s may still take effect: %w", id, err)
		}
	}
}

// detachUnseen is the detach of a file system that the platform says does not exist. It is success if that is proven, by
// the same rules as for block storage: it was answered twice with a pause between, at last to a write, and meanwhile no
// read shows the file system in an account that was proven to be the cluster's. What reads show has its attachments read.
func (s *Store) detachUnseen(ctx context.Context, k key, asked time.Time) error {
	named := []string{k.instance}
	if k.instance == "" {
		named = nil
	}
	switch err := s.base.LookAgain(ctx, k.id, asked, named...); {
	case volume.ReasonOf(err) == volume.NotFound:
		return s.proveGone(ctx, k)
	case err != nil:
		return err
	}
	a, err := s.attachmentAt(ctx, k)
	if err != nil {
		return err
	}
	if k.instance == "" || a.InstanceID != "" {
		return volume.Errorf(volume.Busy, "file system %s was not shown by the platform and is again; where it is attached is looked at again", k.id)
	}
	s.book.left(k)
	return nil
}

// proveGone repeats a write that names what no read shows. Without an instance there is none that could be repeated, and
// nothing is left to be detached from: no list shows an attachment.
func (s *Store) proveGone(ctx context.Context, k key) error {
	if k.instance == "" {
		return nil
	}
	switch err := s.api.DetachFileSystem(ctx, k.id, k.instance); {
	case vultr.IsNotFound(err):
		klog.FromContext(ctx).Info("There is nothing to detach, the file system does not exist", "volumeID", k.id, "instanceID", k.instance)
		return nil
	case err == nil, vultr.IsConflict(err), vultr.IsOutcomeUnknown(err):
		return volume.Errorf(volume.Busy, "file system %s is not shown by the platform, which accepts to detach it; it is looked at again", k.id)
	default:
		return refusal.OfChange(err, "detaching file system %s from instance %s, which no read shows", k.id, k.instance)
	}
}

// instanceGone reports whether it is proven that the instance is gone: nothing can be attached to it any more.
func (s *Store) instanceGone(ctx context.Context, instance string) bool {
	gone, err := s.base.InstanceGone(ctx, instance)
	return err == nil && gone
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
