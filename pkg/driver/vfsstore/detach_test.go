package vfsstore

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestDetachOfNothing: a detach that finds nothing waits for an attach that another process may have ordered, and takes
// that away as well.
func TestDetachOfNothing(t *testing.T) {
	t.Run("nothing comes", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			a := r.instance("a")
			id := r.create("pvc-1")
			began := time.Now()
			r.must(r.Detach(t.Context(), id, a))
			if took := time.Since(began); took < 30*time.Second {
				t.Errorf("it took %s", took)
			}
			began = time.Now()
			r.must(r.Detach(t.Context(), id, a)) // right after that it is known
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the repetition took %s", took)
			}
		})
	})
	t.Run("an attach comes late", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			a := r.instance("a")
			id := r.create("pvc-1")
			other := r.another()
			time.AfterFunc(10*time.Second, func() {
				if _, err := other.api.AttachFileSystem(t.Context(), id, a); err != nil {
					t.Error(err)
				}
			})
			r.must(r.Detach(t.Context(), id, a))
			if at := r.at(id, a); at.State != "" {
				t.Errorf("it is %+v", at)
			}
		})
	})
	t.Run("the caller gives up", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			a := r.instance("a")
			id := r.create("pvc-1")
			for instance, words := range map[string][]string{a: {id, a}, "": {id}} {
				short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				err := r.Detach(short, id, instance)
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("from %q: got %v", instance, err)
				}
				wantWords(t, err, words...)
			}
		})
	})
	t.Run("the instance is gone", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			id := r.create("pvc-1")
			began := time.Now()
			r.must(r.Detach(t.Context(), id, "0c6a5f2e-7a3e-4f0e-9a43-0c4c5d0b8a01"))
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	})
}

// TestDetachWithoutAnswer: lost answers, and an attachment that is still being made, end in a proven detach.
func TestDetachWithoutAnswer(t *testing.T) {
	for name, action := range map[string]simulator.FaultAction{
		"not done": simulator.FaultResetBefore, "done": simulator.FaultResetAfter, "5xx after it": simulator.FaultStatusAfter, "twice": simulator.FaultDuplicate,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				a := r.instance("a")
				id := r.create("pvc-1")
				if name == "twice" {
					_, err := r.api.AttachFileSystem(t.Context(), id, a)
					r.must(err)
				} else {
					r.attach(id, a)
				}
				r.cloud.Fault(simulator.Fault{Operation: "detach_vfs", Action: action, Status: statusOf(action), Times: 1})
				r.must(r.repeat(5*time.Minute, func(ctx context.Context) error { return r.Detach(ctx, id, a) }))
				if at := r.at(id, a); at.State != "" {
					t.Errorf("it is %+v", at)
				}
				r.must(r.repeat(5*time.Minute, func(ctx context.Context) error { return r.Delete(ctx, id) }))
			})
		})
	}
}

// TestDetachThatWasNotDone: that the attachment is not found proves no detach when an attempt before got no answer, because
// it is shown.
func TestDetachThatWasNotDone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		a := r.instance("a")
		id := r.create("pvc-1")
		r.attach(id, a)
		for i, f := range []simulator.Fault{
			{Action: simulator.FaultResetBefore},
			{Action: simulator.FaultStatus, Status: http.StatusNotFound, Body: `{"error":"Attachment Not Found","status":404}`},
		} {
			f.Operation, f.Nth, f.Times = "detach_vfs", i+1, 1
			r.cloud.Fault(f)
		}
		r.must(r.repeat(5*time.Minute, func(ctx context.Context) error { return r.Detach(ctx, id, a) }))
		if at := r.at(id, a); at.State != "" {
			t.Errorf("it is %+v", at)
		}
	})
}

// TestDetachIsSeenLate: reads that lag do not end a detach before it is over.
func TestDetachIsSeenLate(t *testing.T) {
	inBubble(t, simulator.ReadLags{"vfs": 20 * time.Second}, func(t *testing.T, r *rig) {
		a := r.instance("a")
		id := r.create("pvc-1")
		_, err := r.api.AttachFileSystem(t.Context(), id, a) // no read shows it yet
		r.must(err)
		r.must(r.Detach(t.Context(), id, a))
		if at := r.at(id, a); at.State != "" {
			t.Errorf("it is %+v", at)
		}
	})
}

// TestDetachOfWhatIsBeingChanged: that lists show nothing while the platform refuses a detach for what it is doing with the
// attachment is no detach, however often it is repeated.
func TestDetachOfWhatIsBeingChanged(t *testing.T) {
	inBubble(t, simulator.ReadLags{"vfs": time.Minute}, func(t *testing.T, r *rig) {
		a := r.instance("a")
		id := r.create("pvc-1")
		_, err := r.api.AttachFileSystem(t.Context(), id, a) // no read shows it yet
		r.must(err)
		r.cloud.Fault(simulator.Fault{
			Operation: "detach_vfs", Action: simulator.FaultStatus, Status: http.StatusConflict, Times: 2 * mostOrders,
			Body: `{"error":"The attachment is being changed.","status":409}`,
		})
		r.must(r.Detach(t.Context(), id, a))
		if at := r.at(id, a); at.State != "" {
			t.Errorf("it is %+v", at)
		}
	})
}

// TestDetachOfWhatIsGone: a file system that somebody deleted is detached, by proof and only in the cluster's account.
func TestDetachOfWhatIsGone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		ctx, a := t.Context(), r.instance("a")
		id := r.create("pvc-1")
		r.must(r.another().api.DeleteFileSystem(ctx, id))
		r.cloud.AwaitReads()
		time.Sleep(3 * time.Minute) // of the fake clock: it is no longer new
		began := r.cloud.Count("detach_vfs")
		r.must(r.Detach(ctx, id, a))
		if n := r.cloud.Count("detach_vfs") - began; n != 2 {
			t.Errorf("%d detaches were sent, the proof takes two", n)
		}
		r.must(r.Detach(ctx, id, ""))
		r.must(r.Delete(ctx, id))
	})
}

// TestDeleteWhileLeaving: the end of an attachment is waited for, not reported as somebody's to act.
func TestDeleteWhileLeaving(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		ctx, a := t.Context(), r.instance("a")
		id := r.create("pvc-1")
		r.attach(id, a)
		r.must(r.api.DetachFileSystem(ctx, id, a))
		r.cloud.Await("a detach that shows", func() bool {
			list, err := r.api.FileSystemAttachments(ctx, id, 0)
			return err == nil && len(list.Items) == 1 && isLeaving(list.Items[0])
		})
		r.want(r.Delete(ctx, id), volume.Busy, a)
		if err := r.api.DeleteFileSystem(ctx, id); !vultr.IsInUse(err) { // what no read shows the platform knows
			t.Errorf("got %v", err)
		}
		r.must(r.repeat(5*time.Minute, func(ctx context.Context) error { return r.Delete(ctx, id) }))
	})
}
