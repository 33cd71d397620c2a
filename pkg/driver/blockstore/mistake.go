package blockstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// takeBackFor bounds the delete of what was made wrongly: it goes on when the caller has given up.
const takeBackFor = 30 * time.Second

// mistake returns what is wrong with what this process created for the name, of which nobody was told yet; nil if it is right.
func (s *Store) mistake(ctx context.Context, d disk, m made, name string) (wrong, unknown error) {
	wrong = mistakeIn(d, *m.spec, s.opts.Cluster.Label(name))
	if wrong != nil || !m.late {
		return wrong, nil
	}
	err := s.elsewhere(ctx, name, m.at)
	if volume.ReasonOf(err) == volume.Exists {
		return err, nil
	}
	return nil, err
}

// mistakeIn compares what a create of this process made with what it was told to make; nil when it is right. It judges
// what a read shows: the answer to the create may lack fields. A volume that is wrong in its name would never be found
// again; any other wrong one would stand in the way of its own claim for ever. A note behind the name is no mistake: another process that
// found the volume meanwhile has put it there.
func mistakeIn(d disk, spec volume.Spec, label string) error {
	if ownership.Bare(d.Name) != label {
		return volume.Errorf(volume.Invalid,
			"the platform made the name %q of %q, by which the volume could not be found again", d.Name, label)
	}
	if differences := compare(d.Volume, spec); len(differences) > 0 {
		return fmt.Errorf("the platform made another volume than it was told to: %s", strings.Join(differences, "; "))
	}
	return nil
}

// takeBack deletes what was made wrongly. Until that has worked it is remembered, and every create of the name begins
// with it.
func (s *Store) takeBack(ctx context.Context, name string, m made) error {
	s.names.put(name, m)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackFor)
	defer cancel()
	if _, err := s.remove(ctx, m.id, s.free(m.id)); err != nil {
		return volume.Errorf(volume.Busy, "%s; deleting volume %s again: %w", m.wrong.Error(), m.id, err)
	}
	klog.FromContext(ctx).Info("Deleted a volume that was made wrongly", "volumeID", m.id, "name", name, "why", m.wrong)
	s.ledger.gone(m.id)
	m.deleted = time.Now()
	s.names.put(name, m)
	return fmt.Errorf("%w; it was deleted again", m.wrong)
}
