package blockstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

var _ volume.Examiner = (*Store)(nil)

const (
	// pendingFor is how long a volume may take to become active. It takes seconds.
	pendingFor = 10 * time.Minute
	// instancesAge is how old the list may be that shows that an instance is there. One that it lacks is looked for.
	instancesAge = time.Minute
)

// Examine returns what the platform shows to be wrong with the volume.
func (s *Store) Examine(ctx context.Context, id string) ([]volume.Condition, error) {
	asked := time.Now()
	d, err := s.look(ctx, id)
	if err != nil {
		return nil, s.orDoubt(ctx, id, asked, err)
	}
	return s.conditions(ctx, d, s.isGone)
}

// ExamineAll returns what the platform shows to be wrong with any volume. It costs a list of the volumes and, if any is
// attached, one of the instances; both are shared with whoever else reads them. An instance that the list lacks is looked for
// once, however many volumes it has.
func (s *Store) ExamineAll(ctx context.Context, maxAge time.Duration) (map[string][]volume.Condition, error) {
	list, err := s.list(ctx, maxAge)
	if err != nil {
		return nil, refusal.OfRead(err, "listing block storage")
	}
	all, gone := map[string][]volume.Condition{}, map[string]bool{}
	isGone := func(ctx context.Context, instance string) (bool, error) {
		if is, known := gone[instance]; known {
			return is, nil
		}
		is, err := s.isGone(ctx, instance)
		if err == nil {
			gone[instance] = is
		}
		return is, err
	}
	for _, v := range list.Items {
		conditions, err := s.conditions(ctx, fromAPI(v), isGone)
		if err != nil {
			return nil, err
		}
		if len(conditions) > 0 {
			all[v.ID] = conditions
		}
	}
	return all, nil
}

// conditions says what is wrong with a disk as it was read. isGone reports whether an instance is proven not to exist.
func (s *Store) conditions(ctx context.Context, d disk, isGone func(ctx context.Context, instance string) (bool, error)) ([]volume.Condition, error) {
	var all []volume.Condition
	if c, wrong := ofStatus(d, time.Now()); wrong {
		all = append(all, c)
	}
	for _, instance := range d.AttachedTo {
		gone, err := isGone(ctx, instance)
		if err != nil {
			return nil, refusal.OfRead(err, "looking for instance %s, to which volume %s is attached", instance, d.ID)
		}
		if gone {
			all = append(all, volume.Condition{
				Severity: volume.Inaccessible, Reason: "InstanceGone",
				Message: fmt.Sprintf("the platform shows volume %s at instance %s, which does not exist: it cannot be attached elsewhere before it is "+
					"detached there. Detach it in the Vultr console, should it stay so", d.ID, instance),
			})
		}
	}
	return all, nil
}

// ofStatus judges the platform's own word.
func ofStatus(d disk, now time.Time) (c volume.Condition, wrong bool) {
	switch {
	case d.Ready:
		return c, false
	case d.isFailed():
		return volume.Condition{
			Severity: volume.Inaccessible, Reason: "VolumeFailed",
			Message: fmt.Sprintf("the platform says that volume %s has the status %q: see it in the Vultr console, and ask Vultr's support should it stay so", d.ID, d.status),
		}, true
	case d.status == "" || strings.EqualFold(d.status, "pending"):
		return volume.Condition{
			Severity: volume.Inaccessible, Reason: "StillPending",
			Message: fmt.Sprintf("volume %s was created at %s and has not become active since: see it in the Vultr console", d.ID, d.Created.Format(time.RFC3339)),
		}, !d.Created.IsZero() && now.Sub(d.Created) > pendingFor
	}
	return volume.Condition{
		Severity: volume.Degraded, Reason: "UnknownStatus",
		Message: fmt.Sprintf("volume %s has the status %q, which is neither pending nor active: see it in the Vultr console", d.ID, d.status),
	}, true
}

// isGone reports whether an instance is proven not to exist.
func (s *Store) isGone(ctx context.Context, instance string) (bool, error) {
	list, err := s.api.Instances(ctx, instancesAge)
	if err != nil {
		return false, err
	}
	if shows(list, instance) {
		return false, nil
	}
	return s.instanceGone(ctx, instance)
}

func shows(list vultr.List[vultr.Instance], instance string) bool {
	for _, i := range list.Items {
		if strings.EqualFold(i.ID, instance) {
			return true
		}
	}
	return false
}
