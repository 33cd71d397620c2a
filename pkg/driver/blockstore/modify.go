package blockstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

var _ volume.Modifier = (*Store)(nil)

// Relabeler is an API that can change the labels of volumes.
type Relabeler interface {
	RelabelVolume(ctx context.Context, id, label string) error
	// ChangeVolume changes both in one call.
	ChangeVolume(ctx context.Context, id string, sizeGB int, label string) error
}

const (
	// labelKey is the only mutable parameter: of a disk the platform can change the label and, by an expansion, the size.
	labelKey = "label"
	// mergeFor is how long a modification waits for an expansion that came with it, to be sent with it.
	mergeFor = 300 * time.Millisecond
)

// noteForm is what people may add to a label. It has no brackets, by which a label is told from the note.
var noteForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9 ._:/=+@-]{0,61}[A-Za-z0-9])?$`)

// CheckModify judges mutable parameters. The label is the volume's name, by which it is found again, so only a note can be
// added to it, and only if the name of the volume that is to be made is a claim's: afterwards it would be too late, the
// provisioner keeps no volume of which it was told that it is not possible.
func (s *Store) CheckModify(name string, parameters map[string]string) error {
	var faults []string
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		if key != labelKey {
			faults = append(faults, fmt.Sprintf("mutable parameter %q is unknown or cannot be changed, valid is %q", key, labelKey))
			continue
		}
		if note := parameters[key]; note != "" && !noteForm.MatchString(note) {
			faults = append(faults, fmt.Sprintf("mutable parameter %q: %q is not possible: at most 63 letters, digits, blanks and ._:/=+@-, "+
				"beginning and ending with a letter or a digit", key, note))
		}
		if label := s.opts.Cluster.Label(name); name != "" && parameters[key] != "" && !ownership.IsClaims(label) {
			faults = append(faults, fmt.Sprintf("mutable parameter %q: %s", key, noClaims(label)))
		}
	}
	if _, can := s.api.(Relabeler); !can && len(parameters) > 0 {
		faults = append(faults, "nothing of this kind of storage can be changed")
	}
	if len(faults) > 0 {
		return volume.Errorf(volume.Invalid, "%s", strings.Join(faults, "; "))
	}
	return nil
}

// Modify adds a note to the volume's label, or takes it away. One that is there costs a call and changes nothing.
func (s *Store) Modify(ctx context.Context, id string, parameters map[string]string) error {
	if err := s.CheckModify("", parameters); err != nil {
		return err
	}
	note, wished := parameters[labelKey]
	if !wished {
		_, err := s.Read(ctx, id) // what does not exist has nothing to keep as it is
		return err
	}
	// Before it is looked at: an expansion that came with it looks as well, and knows the label.
	if merged, err := s.changes.offer(ctx, id, note, mergeFor); merged || err != nil {
		return err
	}
	asked := time.Now()
	d, err := s.whereIs(ctx, id, 0)
	if err != nil {
		return s.orDoubt(ctx, id, asked, err)
	}
	label, err := noted(d.Name, note)
	if err != nil {
		return err
	}
	// Also when it seems to be there: the read may be older than the last change, what answers writes is not.
	err = s.api.(Relabeler).RelabelVolume(ctx, id, label) //nolint:errcheck,forcetypeassert // CheckModify has looked
	if vultr.IsNothingToChange(err) {
		// An attempt whose answer was lost has done it, and the single read that found another label was an old one.
		if _, err := s.wait(ctx, "relabel", id, func(d disk) (bool, error) { return d.Name == label, nil }); err != nil {
			return refusal.OfRead(err, "waiting for volume %s to have the label %q", id, label)
		}
		return nil
	}
	if err != nil {
		return ofShown(err, "labelling volume %s %q", id, label)
	}
	klog.FromContext(ctx).Info("Labelled volume", "volumeID", id, "label", label)
	return nil
}

// noted is a label with another note. Only that of a claim's volume is told from its note for sure.
func noted(label, note string) (string, error) {
	bare := ownership.Bare(label)
	if note == "" {
		return bare, nil
	}
	if !ownership.IsClaims(bare) {
		return "", volume.Errorf(volume.Invalid, "%s", noClaims(label))
	}
	return ownership.WithNote(bare, note), nil
}

func noClaims(label string) string {
	return fmt.Sprintf("the label %q is not that of a volume which was made for a claim (pvc-<UID>): "+
		"it is left as it is, because the volume could not be found by it any more", label)
}

// changes are modifications that wait for an expansion of their volume. The two come together when somebody changes size and
// class of a claim at once, and one call to the platform does both. An expansion never waits.
type changes struct {
	mu      sync.Mutex
	offered map[string]*offer
	// expanding are the volumes whose expansion has not been sent yet.
	expanding map[string]int
	// moved is closed when that changes.
	moved chan struct{}
}

type offer struct {
	note string
	done chan error // one answer, once it is taken
}

func newChanges() *changes {
	return &changes{offered: map[string]*offer{}, expanding: map[string]int{}, moved: make(chan struct{})}
}

// errAlone says that a modification has to be sent by itself.
var errAlone = errors.New("it is sent alone")

// offer waits until an expansion has sent the note. merged is false if none came, or if the platform refused both together:
// then the caller sends it alone.
func (c *changes) offer(ctx context.Context, id, note string, patience time.Duration) (merged bool, err error) {
	o := &offer{note: note, done: make(chan error, 1)}
	c.mu.Lock()
	if c.offered[id] != nil { // somebody else's; that is rare enough
		c.mu.Unlock()
		return false, nil
	}
	c.offered[id] = o
	c.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	over := timer.C
	for {
		moved, untaken := c.withdraw(id, o, over == nil)
		if untaken {
			return false, nil
		}
		select {
		case err := <-o.done:
			return err == nil, nil //nolint:nilerr // alone it may succeed, or say what is wrong with it
		case <-over:
			over = nil
		case <-moved:
		case <-ctx.Done():
			c.drop(id, o)
			return false, fmt.Errorf("waiting for an expansion of volume %s, with which its label is changed: %w", id, ctx.Err())
		}
	}
}

// withdraw takes back an offer that was not taken, if the time is up and no expansion is about to take it.
func (c *changes) withdraw(id string, o *offer, up bool) (moved <-chan struct{}, untaken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if up && c.offered[id] == o && c.expanding[id] == 0 {
		delete(c.offered, id)
		return nil, true
	}
	return c.moved, false
}

// drop takes back an offer whose caller is gone.
func (c *changes) drop(id string, o *offer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offered[id] == o {
		delete(c.offered, id)
	}
}

// expand notes that an expansion is about to be sent; end is called when it was, or will not be.
func (c *changes) expand(id string) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expanding[id]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.expanding[id]--; c.expanding[id] == 0 {
			delete(c.expanding, id)
		}
		close(c.moved)
		c.moved = make(chan struct{})
	})
}

// take takes the note that waits for the volume's expansion, nil if none does.
func (c *changes) take(id string) *offer {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.offered[id]
	delete(c.offered, id)
	return o
}

// resize sends an expansion of a volume that has a label, with the note that waits for one. Should the platform refuse both
// together, the expansion is sent alone, and so is the note by who wants it: neither fails for the other.
func (s *Store) resize(ctx context.Context, id, labelled string, sizeGB int) error {
	o := s.changes.take(id)
	if o == nil {
		return s.api.ResizeVolume(ctx, id, sizeGB)
	}
	label, err := noted(labelled, o.note)
	relabeler, can := s.api.(Relabeler)
	if !can || err != nil || label == labelled {
		o.done <- errAlone
		return s.api.ResizeVolume(ctx, id, sizeGB)
	}
	err = relabeler.ChangeVolume(ctx, id, sizeGB, label)
	o.done <- err
	if vultr.IsInvalid(err) {
		return s.api.ResizeVolume(ctx, id, sizeGB)
	}
	if err == nil {
		klog.FromContext(ctx).Info("Labelled volume", "volumeID", id, "label", label)
	}
	return err
}
