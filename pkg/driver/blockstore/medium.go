package blockstore

import (
	"cmp"
	"context"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Medium is what differs between kinds of storage whose volumes are found by their names, made, settled and deleted by the
// same rules: no kind has an idempotency key, and reads of all lag. The zero value is block storage. Whoever sets another
// one presents it as disks that are never attached, and answers for attachments by itself.
type Medium struct {
	// Kind is "" for volume.Block.
	Kind volume.Kind
	// Words is what the kind is called in errors, "" for block storage.
	Words string
	// Sold lists the regions that sell it; nil asks the catalogue of regions for the type of disk.
	Sold func(ctx context.Context) ([]string, error)
	// Free is the precondition of a delete: no instance has the volume. nil decides by the list of volumes.
	Free func(id string) vultr.Precondition
	// Unused reports whether a duplicate holds no data and is attached nowhere; nil where the list of volumes tells all
	// that can be known.
	Unused func(ctx context.Context, id string) (bool, error)
}

func (m Medium) kind() volume.Kind { return cmp.Or(m.Kind, volume.Block) }

func (m Medium) words() string { return cmp.Or(m.Words, "block storage") }

// unused returns errNoTwin for a volume of which the medium knows that it is used.
func (m Medium) unused(ctx context.Context, id string) error {
	if m.Unused == nil {
		return nil
	}
	is, err := m.Unused(ctx, id)
	if err == nil && !is {
		err = errNoTwin
	}
	return err
}

// Enter waits for the turn to give an order to an instance.
func (s *Store) Enter(ctx context.Context, instance string) (*inflight.Turn, error) {
	return s.orders.Enter(ctx, instance)
}

// IsGone reports whether this process deleted the volume. The platform gives an ID to one volume only.
func (s *Store) IsGone(id string) bool { return s.ledger.isGone(id) }

// LookAgain looks for a volume that was not found at the time asked or later, after a pause and by both kinds of reads.
// NotFound is for one that neither shows, in an account that was proven to be the cluster's since; instances are those
// that Kubernetes names with the volume.
func (s *Store) LookAgain(ctx context.Context, id string, asked time.Time, instances ...string) error {
	_, err := s.lookAgain(ctx, id, asked, instances...)
	return err
}

// InstanceGone reports whether neither a single read nor a list shows an instance, in an account that shows another one.
func (s *Store) InstanceGone(ctx context.Context, id string) (bool, error) {
	return s.instanceGone(ctx, id)
}

// LearnPlace notes in which region a volume or an instance is.
func (s *Store) LearnPlace(id, region string) { s.places.learn(id, region) }

// Apart returns the error of an attach across regions when it is known in which both are.
func (s *Store) Apart(id, instance string) error { return s.places.apart(id, instance) }

// Expanding notes that an expansion of the volume is about to be sent by Resize; end is called when it was, or will not be.
// Who wants to change its label waits for that, to be sent with it.
func (s *Store) Expanding(id string) (end func()) { return s.changes.expand(id) }

// Resize sends an expansion of a volume that has the label, together with the change of the label that waits for it.
func (s *Store) Resize(ctx context.Context, id, label string, sizeGB int) error {
	return s.resize(ctx, id, label, sizeGB)
}
