package router

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// kind is a kind of storage that knows its IDs by heart.
type kind struct {
	volume.Backend // nothing else is called

	name    volume.Kind
	ids     []string
	err     error
	asked   []string
	deleted []string
}

func (k *kind) Kind() volume.Kind { return k.name }

func (k *kind) Has(_ context.Context, id string) (bool, error) {
	k.asked = append(k.asked, id)
	return slices.Contains(k.ids, id), k.err
}

func (k *kind) Delete(_ context.Context, id string) error {
	k.deleted = append(k.deleted, id)
	if k.err == nil && !slices.Contains(k.ids, id) {
		return volume.Errorf(volume.NotFound, "no such volume")
	}
	return k.err
}

func (k *kind) List(_ context.Context, maxAge time.Duration) ([]volume.Volume, error) {
	var all []volume.Volume
	for _, id := range k.ids {
		all = append(all, volume.Volume{ID: id, Kind: k.name, SizeGiB: int64(maxAge / time.Second)})
	}
	return all, k.err
}

// finder only recognises.
type finder struct{ *kind }

func (f finder) Kind() volume.Kind { return f.name }

func (f finder) Has(ctx context.Context, id string) (bool, error) { return f.kind.Has(ctx, id) }

// The methods of a Backend must not be there.
func (finder) Delete() {}

func TestOf(t *testing.T) {
	blocks := &kind{name: volume.Block, ids: []string{"b1", "b2"}}
	shared := &kind{name: volume.VFS, ids: []string{"v1"}}
	r := New([]volume.Backend{blocks}, finder{shared})
	for range 2 {
		if b, err := r.Of(t.Context(), "b1"); err != nil || b != volume.Backend(blocks) {
			t.Errorf("got %v, %v", b, err)
		}
		if _, err := r.Of(t.Context(), "v1"); volume.ReasonOf(err) != volume.InUse || !strings.Contains(err.Error(), "v1") {
			t.Errorf("a kind that is not supported: %v", err)
		}
	}
	if len(blocks.asked) != 2 || len(shared.asked) != 1 {
		t.Errorf("asked for %s and %s: what is known is known", blocks.asked, shared.asked)
	}
	for range 2 { // what is nothing now may be something in a moment
		if _, err := r.Of(t.Context(), "x"); volume.ReasonOf(err) != volume.NotFound {
			t.Errorf("got %v", err)
		}
	}
	if len(shared.asked) != 3 {
		t.Errorf("asked for %s", shared.asked)
	}
	r.Made(volume.Volume{ID: "b3", Kind: volume.Block})
	if b, err := r.Of(t.Context(), "b3"); err != nil || b != volume.Backend(blocks) {
		t.Errorf("what was just made: %v, %v", b, err)
	}
	blocks.err = errors.New("no answer")
	if _, err := r.Of(t.Context(), "v2"); !errors.Is(err, blocks.err) || volume.ReasonOf(err) == volume.NotFound {
		t.Errorf("without an answer of the first kind: %v", err)
	}
	blocks.err, shared.err = nil, errors.New("no answer")
	if _, err := r.Of(t.Context(), "x"); !errors.Is(err, shared.err) {
		t.Errorf("without an answer of the second kind: %v", err)
	}
	if _, err := r.For(volume.VFS); volume.ReasonOf(err) != volume.Invalid || !strings.Contains(err.Error(), "only block is") {
		t.Errorf("got %v", err)
	}
}

func TestDelete(t *testing.T) {
	blocks := &kind{name: volume.Block, ids: []string{"b1"}}
	shared := &kind{name: volume.VFS, ids: []string{"v1"}}
	r := New([]volume.Backend{blocks}, finder{shared})
	for range 2 { // the second time all is known
		for _, id := range []string{"b1", "unseen"} {
			if err := r.Delete(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
	}
	if !slices.Equal(blocks.deleted, []string{"b1", "unseen"}) || !slices.Equal(shared.asked, []string{"unseen"}) || len(blocks.asked) != 0 {
		t.Errorf("asked to delete %s, asked for %s and %s", blocks.deleted, blocks.asked, shared.asked)
	}
	for range 2 {
		if err := r.Delete(t.Context(), "v1"); volume.ReasonOf(err) != volume.InUse || !strings.Contains(err.Error(), "v1") {
			t.Errorf("got %v", err)
		}
	}
	if len(blocks.deleted) != 3 || len(shared.asked) != 2 {
		t.Errorf("asked to delete %s, asked for %s: what is known is known", blocks.deleted, shared.asked)
	}
	broken := &failing{kind: blocks, err: volume.Errorf(volume.Busy, "no answer")}
	if err := New([]volume.Backend{broken}).Delete(t.Context(), "unseen"); volume.ReasonOf(err) != volume.Busy {
		t.Errorf("got %v", err)
	}
	broken.err = volume.Errorf(volume.NotFound, "no such thing")
	if err := New([]volume.Backend{broken}).Delete(t.Context(), "unseen"); err != nil {
		t.Errorf("what is proven not to exist: %v", err)
	}
	shared.err = errors.New("no answer")
	if err := r.Delete(t.Context(), "x"); !errors.Is(err, shared.err) {
		t.Errorf("without proof: %v", err)
	}
	shared.err = nil
	if err := r.Delete(t.Context(), "x"); err != nil || len(shared.asked) != 4 {
		t.Errorf("with proof: %v, asked for %s", err, shared.asked)
	}
	r.Made(volume.Volume{ID: "by hand", Kind: volume.Block})
	if err := r.Delete(t.Context(), "by hand"); err != nil || len(shared.asked) != 4 {
		t.Errorf("known, and gone meanwhile: %v, asked for %s", err, shared.asked)
	}
}

// TestMade: what was made belongs to the backend of its kind, whichever comes first.
func TestMade(t *testing.T) {
	one, two := &kind{name: volume.Block}, &kind{name: volume.VFS}
	r := New([]volume.Backend{one, two})
	for id, k := range map[string]*kind{"a": one, "b": two} {
		r.Made(volume.Volume{ID: id, Kind: k.name})
		if b, err := r.Of(t.Context(), id); err != nil || b != volume.Backend(k) {
			t.Errorf("%s: got %v, %v", id, b, err)
		}
	}
	r.Made(volume.Volume{ID: "c", Kind: "tape"})
	if _, err := r.Of(t.Context(), "c"); volume.ReasonOf(err) != volume.NotFound {
		t.Errorf("a kind that nobody has: %v", err)
	}
}

// failing fails deletes alone.
type failing struct {
	*kind
	err error
}

func (f *failing) Delete(context.Context, string) error { return f.err }

// bareKind has another list, an empty one, for those who do not ask for instances.
type bareKind struct{ *kind }

func (bareKind) ListBare(context.Context, time.Duration) ([]volume.Volume, error) { return nil, nil }

func TestList(t *testing.T) {
	blocks, more := &kind{name: volume.Block, ids: []string{"c", "a"}}, &kind{name: volume.VFS, ids: []string{"b"}}
	r := New([]volume.Backend{blocks, more})
	all, err := r.List(t.Context(), 7*time.Second)
	var ids []string
	for _, v := range all {
		ids = append(ids, v.ID)
		if v.SizeGiB != 7 {
			t.Errorf("asked for an age of %d", v.SizeGiB)
		}
	}
	if err != nil || !slices.Equal(ids, []string{"a", "b", "c"}) {
		t.Errorf("got %s, %v", ids, err)
	}
	r.backends[1] = bareKind{more}
	if all, err := r.ListBare(t.Context(), 7*time.Second); err != nil || len(all) != 2 || all[0].ID != "a" || all[1].ID != "c" {
		t.Errorf("bare: %v, %v", all, err)
	}
	blocks.err = errors.New("no answer")
	if all, err := r.List(t.Context(), 0); !errors.Is(err, blocks.err) {
		t.Errorf("without an answer of one kind: %v, %v", all, err)
	}
}
