package blockstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// takeBackFor bounds the delete of what was made wrongly: it goes on when the caller has given up.
	takeBackFor = 30 * time.Second
	// mistakeFor is how long the platform is not asked again for what it made wrongly: each try makes and deletes a
	// volume, and its next answer is most likely the same.
	mistakeFor = 10 * time.Minute
)

// mistake is a volume that the platform made unlike what it was told.
type mistake struct {
	id string
	// why says what is wrong with it.
	why error
	// deleted is when it was deleted again, the zero time while it was not.
	deleted time.Time
}

// mistakeIn compares what a create made with what it was told to make; nil when it is right. A volume that is wrong
// in its name would never be found again; any other wrong one would stand in the way of its own claim for ever.
func mistakeIn(made vultr.Volume, spec volume.Spec) *mistake {
	if made.Label != spec.Name {
		return &mistake{id: made.ID, why: volume.Errorf(volume.Invalid,
			"the platform made the name %q of %q, by which the volume could not be found again", made.Label, spec.Name)}
	}
	if differences := compare(fromAPI(made), spec); len(differences) > 0 {
		return &mistake{id: made.ID, why: fmt.Errorf("the platform made another volume than it was told to: %s", strings.Join(differences, "; "))}
	}
	return nil
}

// mistakes remembers by name what the platform made wrongly. Its zero value is ready.
type mistakes struct {
	mu     sync.Mutex
	byName map[string]mistake
}

func (m *mistakes) put(name string, wrong mistake) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName == nil {
		m.byName = map[string]mistake{}
	}
	for other, e := range m.byName {
		if !e.deleted.IsZero() && time.Since(e.deleted) > mistakeFor {
			delete(m.byName, other)
		}
	}
	m.byName[name] = wrong
}

func (m *mistakes) get(name string) (mistake, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	wrong, ok := m.byName[name]
	return wrong, ok
}

// earlierMistake takes back what an earlier create of the name made wrongly and could not take back yet. For a while
// it repeats what was wrong; after that nil lets the platform try again.
func (s *Store) earlierMistake(ctx context.Context, spec volume.Spec) error {
	wrong, ok := s.mistakes.get(spec.Name)
	switch {
	case !ok, !wrong.deleted.IsZero() && time.Since(wrong.deleted) > mistakeFor:
		return nil
	case wrong.deleted.IsZero():
		return s.takeBack(ctx, spec.Name, wrong)
	}
	return fmt.Errorf("%w; it was deleted again, and the next try is in %s", wrong.why, (mistakeFor - time.Since(wrong.deleted)).Round(time.Second))
}

// takeBack deletes what was made wrongly. Until that has worked it is remembered, and every create of the name begins
// with it.
func (s *Store) takeBack(ctx context.Context, name string, wrong mistake) error {
	s.mistakes.put(name, wrong)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackFor)
	defer cancel()
	if err := s.api.DeleteVolume(ctx, wrong.id); err != nil && !vultr.IsNotFound(err) {
		return volume.Errorf(volume.Busy, "%s; deleting volume %s again: %w", wrong.why.Error(), wrong.id, err)
	}
	klog.FromContext(ctx).Info("Deleted a volume that was made wrongly", "volumeID", wrong.id, "name", name, "why", wrong.why)
	wrong.deleted = time.Now()
	s.mistakes.put(name, wrong)
	return fmt.Errorf("%w; it was deleted again", wrong.why)
}

// duplicates counts volumes found beside an older one of the same name, each once. Its zero value is ready.
type duplicates struct {
	mu    sync.Mutex
	known map[string]bool
}

// add tells whether the volume was not known yet.
func (d *duplicates) add(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known[id] {
		return false
	}
	if d.known == nil {
		d.known = map[string]bool{}
	}
	d.known[id] = true
	return true
}

func (d *duplicates) count() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return float64(len(d.known))
}
