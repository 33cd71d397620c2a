package vfsstage

import (
	"context"
	"errors"
	"testing"
	"time"
)

// slowTags mount when they are let.
type slowTags struct {
	tags

	let chan struct{}
}

func (s slowTags) Mount(ctx context.Context, tag, path string, options []string) error {
	<-s.let
	return s.tags.Mount(ctx, tag, path, options)
}

// TestMountThatComesLate: the kernel answers a mount after the call was given up that asked for it. An unstage does not
// count as done before, or what comes then would stay for ever.
func TestMountThatComesLate(t *testing.T) {
	r := newRig(t)
	slow := slowTags{r.tags, make(chan struct{})}
	r.tags = slow
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.Stage(ctx, use(nil), r.staging); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a call that is cut off: %v", err)
	}
	if err := r.unstage(); !isHanging(err) { // for as long as the patience of this rig, a second
		t.Errorf("got %v while the mount is under way", err)
	}
	if record, err := r.cfg.State.Staged(volumeID); err != nil || record == nil {
		t.Errorf("the record is %+v, %v", record, err)
	}
	if err := r.stage(use(nil)); !isHanging(err) {
		t.Errorf("staged again: %v", err)
	}
	close(slow.let)
	for err := r.unstage(); err != nil; err = r.unstage() { // the mount ends a moment later
		if !isHanging(err) {
			t.Fatal(err)
		}
	}
	if r.mounted(r.staging) {
		t.Error("it was mounted after it had been unstaged")
	}
	r.must(r.stage(use(nil)))
	r.must(r.unstage())
}
