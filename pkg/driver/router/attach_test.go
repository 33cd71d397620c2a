package router

import (
	"context"
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// attaching is a kind whose volumes can be attached.
type attaching struct {
	*kind

	attached []string
	refuses  error // of how it is to be used
	fails    error // of the platform
}

func (a *attaching) CheckAccess([]volume.Access) error { return a.refuses }

func (a *attaching) Attach(_ context.Context, id, instance string) (volume.Attachment, error) {
	a.attached = append(a.attached, id+" to "+instance)
	if a.fails == nil && !slices.Contains(a.ids, id) {
		return volume.Attachment{}, volume.Errorf(volume.NotFound, "no such volume")
	}
	return volume.Attachment{Serial: "serial of " + id}, a.fails
}

// TestAttach: the order itself finds out of which kind an ID is. An ID of another kind is looked for, and refused if that
// is not supported.
func TestAttach(t *testing.T) {
	blocks := &attaching{kind: &kind{name: volume.Block, ids: []string{"b1", "b2"}}}
	shared := &kind{name: volume.VFS, ids: []string{"v1"}}
	r := New([]volume.Backend{blocks}, finder{shared})
	for range 2 {
		a, err := r.Attach(t.Context(), "b1", "i", nil)
		if err != nil || a.Serial != "serial of b1" {
			t.Errorf("got %+v, %v", a, err)
		}
	}
	if b, err := r.Of(t.Context(), "b1"); err != nil || b != volume.Backend(blocks) || len(blocks.asked) != 0 {
		t.Errorf("got %v, %v, asked for %s: the order has told", b, err, blocks.asked)
	}
	for range 2 {
		if _, err := r.Attach(t.Context(), "v1", "i", nil); volume.ReasonOf(err) != volume.InUse {
			t.Errorf("a kind that is not supported: %v", err)
		}
	}
	if !slices.Equal(blocks.attached, []string{"b1 to i", "b1 to i", "v1 to i"}) || len(shared.asked) != 1 {
		t.Errorf("tried %s, asked for %s: what is known is known", blocks.attached, shared.asked)
	}
	if _, err := r.Attach(t.Context(), "x", "i", nil); volume.ReasonOf(err) != volume.NotFound {
		t.Errorf("what nobody knows: %v", err)
	}
}

func TestAttachFails(t *testing.T) {
	fresh := func() (*attaching, *kind, *Router) {
		blocks := &attaching{kind: &kind{name: volume.Block, ids: []string{"b1"}}}
		shared := &kind{name: volume.VFS, ids: []string{"v1"}}
		return blocks, shared, New([]volume.Backend{blocks}, finder{shared})
	}
	// Another failure than "no such volume" says nothing about the kind.
	blocks, shared, r := fresh()
	blocks.fails = volume.Errorf(volume.Busy, "no answer")
	if _, err := r.Attach(t.Context(), "b1", "i", nil); volume.ReasonOf(err) != volume.Busy || len(blocks.asked)+len(shared.asked) != 0 {
		t.Errorf("got %v, asked for %s and %s", err, blocks.asked, shared.asked)
	}
	if _, err := r.Of(t.Context(), "b1"); err != nil || len(blocks.asked) != 1 {
		t.Errorf("got %v, asked for %s", err, blocks.asked)
	}
	// The volume is there: what does not exist is the instance. It is not tried twice.
	blocks, _, r = fresh()
	blocks.fails = volume.Errorf(volume.NotFound, "no such instance")
	if _, err := r.Attach(t.Context(), "b1", "i", nil); volume.ReasonOf(err) != volume.NotFound || len(blocks.attached) != 1 {
		t.Errorf("got %v after %s", err, blocks.attached)
	}
	// A use that the kind refuses is not tried, and it is the volume's own kind that says so.
	blocks, shared, r = fresh()
	blocks.refuses = volume.Errorf(volume.Invalid, "one instance only")
	if _, err := r.Attach(t.Context(), "b1", "i", nil); volume.ReasonOf(err) != volume.Invalid {
		t.Errorf("got %v", err)
	}
	if _, err := r.Attach(t.Context(), "v1", "i", nil); volume.ReasonOf(err) != volume.InUse || len(blocks.attached) != 0 {
		t.Errorf("got %v, tried %s", err, blocks.attached)
	}
	r.Made(volume.Volume{ID: "known", Kind: volume.Block})
	if _, err := r.Attach(t.Context(), "known", "i", nil); volume.ReasonOf(err) != volume.Invalid || len(blocks.attached) != 0 || len(shared.asked) != 1 {
		t.Errorf("got %v, tried %s", err, blocks.attached)
	}
}

// sharing is a kind whose volumes several instances can have.
type sharing struct {
	attaching

	alone []string
	has   string // the instance that has them all
}

func (s *sharing) AttachAlone(ctx context.Context, id, instance string) (volume.Attachment, error) {
	s.alone = append(s.alone, id+" at "+instance)
	if s.has != "" && s.has != instance {
		return volume.Attachment{}, volume.Errorf(volume.InUse, "instance %s has it", s.has)
	}
	return s.Attach(ctx, id, instance)
}

// TestAttachForOneNode: where several instances can have a volume, an access mode of one node is kept by the driver, and one
// of several nodes costs no look.
func TestAttachForOneNode(t *testing.T) {
	shared := &sharing{attaching: attaching{kind: &kind{name: volume.VFS, ids: []string{"v1"}}}, has: "a"}
	r := New([]volume.Backend{shared})
	one, several := []volume.Access{{Mode: volume.SingleNodeSingleWriter}}, []volume.Access{{Mode: volume.MultiNodeMultiWriter}}
	for range 2 { // by finding out what it is, and by remembering
		if _, err := r.Attach(t.Context(), "v1", "b", one); volume.ReasonOf(err) != volume.InUse {
			t.Errorf("a second instance: %v", err)
		}
		if _, err := r.Attach(t.Context(), "v1", "a", one); err != nil {
			t.Errorf("the same instance: %v", err)
		}
	}
	looks := len(shared.alone)
	if _, err := r.Attach(t.Context(), "v1", "b", several); err != nil || len(shared.alone) != looks {
		t.Errorf("several: %v after %s", err, shared.alone)
	}
	if !slices.Equal(shared.attached, []string{"v1 to a", "v1 to a", "v1 to b"}) {
		t.Errorf("attached %s", shared.attached)
	}
}
