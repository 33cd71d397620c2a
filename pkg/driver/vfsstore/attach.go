package vfsstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// repeatWithin is how long an attachment that was just answered for is taken as it was: the attacher asks for every
// attachment twice, the second time at once.
const repeatWithin = 2 * time.Second

// errOrderAgain says that what was in the way of an attach is gone.
var errOrderAgain = errors.New("the attachment that was there is gone")

// Attach gives the file system to the instance and waits until the platform shows it there, by the tag under which the
// guest mounts it. Attaching what the instance has already is success.
func (s *Store) Attach(ctx context.Context, id, instance string) (volume.Attachment, error) {
	return s.attach(ctx, id, instance)
}

// AttachAlone is Attach for an instance that is to have the file system for itself. The platform would attach it to any number,
// so whether that holds is looked at before the order waits for its turn, again right before each attempt, and when it is done: a
// process may stand still between its last look and its order, and go on when another one leads.
func (s *Store) AttachAlone(ctx context.Context, id, instance string) (volume.Attachment, error) {
	if err := s.checkAlone(ctx, id, instance); err != nil {
		return volume.Attachment{}, err
	}
	return s.attach(ctx, id, instance, func(ctx context.Context) error { return s.checkAlone(ctx, id, instance) })
}

func (s *Store) attach(ctx context.Context, id, instance string, preconditions ...vultr.Precondition) (volume.Attachment, error) {
	k, accepted := keyOf(id, instance), false
	for {
		a, err := s.attachOnce(ctx, k, &accepted, preconditions...)
		if err == nil && accepted && len(preconditions) > 0 {
			err = s.cameAlone(ctx, k)
		}
		if err == nil {
			s.book.answered(k, a.MountTag)
			s.account.HasInstance(instance)
			return volume.Attachment{Volume: volume.Volume{ID: id, Kind: volume.VFS, AttachedTo: []string{instance}}, Serial: a.MountTag}, nil
		}
		if !errors.Is(err, errOrderAgain) {
			return volume.Attachment{}, err
		}
	}
}

// attachOnce orders the attachment and waits for it. An answer to the order names the tag, by which the attachment is told
// from an earlier one that a read may still show. What was there before the order proves itself by staying. accepted is set when
// the platform accepts the order.
func (s *Store) attachOnce(ctx context.Context, k key, accepted *bool, preconditions ...vultr.Precondition) (vultr.FileSystemAttachment, error) {
	none := vultr.FileSystemAttachment{}
	// Before the queue: when it is long, the answer is too old by the time of the turn.
	if tag, ok := s.book.lately(k, repeatWithin); ok {
		return vultr.FileSystemAttachment{FileSystemID: k.id, InstanceID: k.instance, MountTag: tag}, nil
	}
	s.base.Locate(ctx, k.id, k.instance)
	turn, err := s.base.Enter(ctx, k.instance)
	if err != nil {
		return none, fmt.Errorf("waiting for other operations on instance %s: %w", k.instance, err)
	}
	defer turn.Leave()
	if err := s.base.Apart(k.id, k.instance); err != nil {
		return none, err
	}
	var a vultr.FileSystemAttachment
	err = send(ctx, turn, func() (err error) {
		a, err = s.api.AttachFileSystem(ctx, k.id, k.instance, preconditions...)
		*accepted = *accepted || err == nil
		return err
	})
	turn.Settle()
	if e, ok := errors.AsType[*volume.Error](err); ok { // a precondition's
		return none, e
	}
	switch {
	case err == nil && a.Attached():
		return a, nil
	case err == nil && a.MountTag != "":
		s.book.ordered(k, a.MountTag)
		return s.awaitAttached(ctx, k, a.MountTag)
	case err != nil && (vultr.IsLocked(err) || !vultr.IsConflict(err) && !vultr.IsOutcomeUnknown(err)):
		return none, s.explain(ctx, k, err)
	}
	if tag := s.book.expects(k); tag != "" {
		*accepted = true // by a call before, whose caller may not have waited until it was known to have the file system alone
		return s.awaitAttached(ctx, k, tag)
	}
	return s.awaitExisting(ctx, k, err)
}

// cameAlone is nil if no other instance has the file system, by a list that shows what was just attached: what came before that shows
// there as well. Else the attachment is taken back, of which nobody was told yet. Should both do so, both are asked again.
func (s *Store) cameAlone(ctx context.Context, k key) error {
	mine := func(a vultr.FileSystemAttachment) bool { return strings.EqualFold(a.InstanceID, k.instance) }
	all, err := s.attachments(ctx, k.id, looksFor)
	if err != nil {
		return refusal.OfRead(err, "making sure that instance %s has file system %s for itself", k.instance, k.id)
	}
	if !slices.ContainsFunc(all, mine) {
		return volume.Errorf(volume.Busy, "file system %s was shown at instance %s and a list lacks that; it is looked at again", k.id, k.instance)
	}
	i := slices.IndexFunc(all, func(a vultr.FileSystemAttachment) bool { return !mine(a) && !isLeaving(a) })
	if i < 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.window)
	defer cancel()
	klog.FromContext(ctx).Info("Another instance got the file system at the same time, taking it back", "volumeID", k.id, "instanceID", k.instance, "other", all[i].InstanceID)
	words := fmt.Sprintf("volume %s was attached to instance %s while it was attached to %s, and its access mode allows one node at a time", k.id, all[i].InstanceID, k.instance)
	if _, err := s.detachOnce(ctx, k); err != nil && !vultr.IsNotAttached(err) {
		return volume.Errorf(volume.Busy, "%s; taking it from %s again: %w", words, k.instance, err)
	}
	return volume.Errorf(volume.InUse, "%s; it was taken from %s again", words, k.instance)
}

// awaitAttached waits for the attachment that has the tag.
func (s *Store) awaitAttached(ctx context.Context, k key, tag string) (vultr.FileSystemAttachment, error) {
	a, err := s.api.WaitFileSystemAttachment(ctx, k.id, k.instance, func(a vultr.FileSystemAttachment) (bool, error) {
		switch {
		case a.MountTag != tag:
			return false, nil // not shown yet, or an earlier one
		case isLeaving(a):
			s.book.leaving(k)
			return false, volume.Errorf(volume.Busy, "file system %s is being detached from instance %s by somebody else", k.id, k.instance)
		}
		return a.Attached(), asFailed(a)
	})
	if vultr.IsNotFound(err) {
		err = volume.Errorf(volume.Busy, "the platform accepted an attach of file system %s, which its reads lack: %w", k.id, err)
	}
	return a, refusal.OfRead(err, "waiting for file system %s to be attached to instance %s", k.id, k.instance)
}

// awaitExisting finds out what an attachment comes to that was there before the order. One that is shown attached may be
// on its way out, by an order that another process gave before it lost its lease and that reads do not show yet: it counts
// when it stays for the window, or when this process answered for it a moment ago.
func (s *Store) awaitExisting(ctx context.Context, k key, cause error) (vultr.FileSystemAttachment, error) {
	a, err := s.attachmentAt(ctx, k)
	if err != nil {
		return a, err
	}
	known, lately := s.book.lately(k, s.book.gap())
	switch {
	case a.Attached() && lately && a.MountTag == known:
		return a, nil
	case a.Attached():
		return a, s.stays(ctx, k, a)
	case a.InstanceID == "" && cause != nil && !vultr.IsOutcomeUnknown(cause):
		return a, s.explain(ctx, k, cause)
	case a.InstanceID == "": // an attach whose answer was lost, as far as is known
		err = s.waitWhile(ctx, k, s.window, func(now vultr.FileSystemAttachment) bool { return now.InstanceID == "" })
	default:
		klog.FromContext(ctx).Info("An attachment is being changed, waiting for it before the attach", "volumeID", k.id, "instanceID", k.instance, "state", a.State)
		err = s.waitWhile(ctx, k, 0, func(now vultr.FileSystemAttachment) bool { return now.State == a.State && now.MountTag == a.MountTag })
	}
	if err == nil || errors.Is(err, errTimeUp) {
		err = errOrderAgain
	}
	return a, refusal.OfRead(err, "waiting for the attachment of file system %s to instance %s, which is %q", k.id, k.instance, a.State)
}

// stays is nil if the attachment has stayed as it is shown for the window.
func (s *Store) stays(ctx context.Context, k key, a vultr.FileSystemAttachment) error {
	same := func(now vultr.FileSystemAttachment) bool { return now.Attached() && now.MountTag == a.MountTag }
	left := s.book.leaves(k, a.MountTag)
	if left == 0 {
		return nil
	}
	klog.FromContext(ctx).Info("The file system was attached before, and a detach may be under way; waiting for that before the attach is taken for done",
		"volumeID", k.id, "instanceID", k.instance, "atMost", left)
	err := s.waitWhile(ctx, k, left, same)
	s.book.waited(k)
	switch {
	case err == nil:
		s.book.leaving(k)
		return errOrderAgain
	case !errors.Is(err, errTimeUp):
		return refusal.OfRead(err, "making sure that file system %s stays at instance %s", k.id, k.instance)
	}
	now, err := s.attachmentAt(ctx, k)
	if err == nil && !same(now) {
		err = errOrderAgain
	}
	return err
}

// errTimeUp says that what was watched has not changed.
var errTimeUp = errors.New("it has not changed")

// waitWhile waits for as long as the attachment is so, at most for the time, if that is set: then it returns errTimeUp.
func (s *Store) waitWhile(ctx context.Context, k key, atMost time.Duration, is func(vultr.FileSystemAttachment) bool) error {
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if atMost > 0 {
		waiting, cancel = context.WithTimeout(ctx, atMost)
	}
	defer cancel()
	_, err := s.api.WaitFileSystemAttachment(waiting, k.id, k.instance, func(a vultr.FileSystemAttachment) (bool, error) { return !is(a), nil })
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		return errTimeUp
	}
	return err
}

// attachmentAt reads the attachment by a list, the zero value when there is none.
func (s *Store) attachmentAt(ctx context.Context, k key) (vultr.FileSystemAttachment, error) {
	all, err := s.attachments(ctx, k.id, 0)
	if i := slices.IndexFunc(all, func(a vultr.FileSystemAttachment) bool { return strings.EqualFold(a.InstanceID, k.instance) }); err == nil && i >= 0 {
		return all[i], nil
	}
	return vultr.FileSystemAttachment{}, err
}

// send sends an order to an instance. When the instance is locked by what this process ordered before, it is sent again
// after that has settled.
func send(ctx context.Context, turn *inflight.Turn, order func() error) error {
	for {
		err := order()
		if !vultr.IsLocked(err) || !turn.AwaitOthers(ctx) {
			return err
		}
	}
}

// isLeaving reports whether an attachment is on its way out. Of the platform only "ATTACHED" is known; it is asked for
// the beginning of the word that it most likely has.
func isLeaving(a vultr.FileSystemAttachment) bool {
	return strings.HasPrefix(strings.ToLower(a.State), "detach")
}

// asFailed is what a state that says so by itself means to those who wait, nil for any other.
func asFailed(a vultr.FileSystemAttachment) error {
	switch strings.ToLower(a.State) {
	case "error", "failed":
		return volume.Errorf(volume.Busy, "the platform says that the attachment of file system %s to instance %s has the state %q: see it in the Vultr console, "+
			"and ask Vultr's support should it stay so", a.FileSystemID, a.InstanceID, a.State)
	}
	return nil
}

func instancesOf(all []vultr.FileSystemAttachment) []string {
	var ids []string
	for _, a := range all {
		ids = append(ids, strings.ToLower(a.InstanceID))
	}
	slices.Sort(ids)
	return ids
}
