package vfsstore

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// TestLife: one file system at two instances, from its creation to its end, and what that costs.
func TestLife(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		ctx, a, b := t.Context(), r.instance("a"), r.instance("b")
		id := r.create("pvc-1")
		if again := r.create("pvc-1"); again != id {
			t.Errorf("the name means %s and %s", id, again)
		}
		r.cloud.Sim.ResetRequests()
		tag := r.attach(id, a)
		if n := r.cloud.Count("attach_vfs") + r.cloud.Count("list_vfs_attachments"); n > 6 { // nothing has been learned yet
			t.Errorf("an attach cost %d calls", n)
		}
		if other := r.attach(id, b); other == tag {
			t.Errorf("both have the tag %s", tag)
		}
		before := len(r.cloud.Requests())
		if again := r.attach(id, b); again == tag || len(r.cloud.Requests()) != before {
			t.Errorf("a repetition at once answers %s and costs %d calls", again, len(r.cloud.Requests())-before)
		}
		v, err := r.Read(ctx, id)
		want := []string{a, b}
		slices.Sort(want)
		if err != nil || v.Kind != volume.VFS || !slices.Equal(v.AttachedTo, want) {
			t.Errorf("read %+v, %v", v, err)
		}
		all, err := r.List(ctx, 0)
		if err != nil || len(all) != 1 || !slices.Equal(all[0].AttachedTo, want) || all[0].Kind != volume.VFS {
			t.Errorf("listed %+v, %v", all, err)
		}
		r.want(r.Delete(ctx, id), volume.InUse, a, b)
		r.must(r.Detach(ctx, id, a))
		if at := r.at(id, a); at.State != "" {
			t.Errorf("after a detach it is %+v", at)
		}
		r.want(r.Delete(ctx, id), volume.InUse, b)
		r.must(r.Detach(ctx, id, ""))
		r.must(r.Delete(ctx, id))
		r.must(r.Delete(ctx, id))
		r.must(r.Detach(ctx, id, b))
		if _, is := r.view(id); is {
			t.Error("it was not deleted")
		}
	})
}

// TestAttachRepeatedInALongQueue: a repeat costs nothing however long other orders to the instance take.
func TestAttachRepeatedInALongQueue(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		id, other, a := r.create("pvc-1"), r.create("pvc-2"), r.instance("a")
		tag := r.attach(id, a)
		hold := r.cloud.Hold("attach_vfs", simulator.FaultHoldBefore)
		done := make(chan error, 1)
		go func() {
			_, err := r.Attach(t.Context(), other, a)
			done <- err
		}()
		hold.Wait()
		began, before := time.Now(), len(r.cloud.Requests())
		if again := r.attach(id, a); again != tag || len(r.cloud.Requests()) != before || time.Since(began) > 0 {
			t.Errorf("it is tag %s after %s was answered, and took %s", again, tag, time.Since(began))
		}
		hold.Release()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestAttachAfterDetach: a read that still shows the attachment from before the detach is not believed: its mount tag
// does not exist any more.
func TestAttachAfterDetach(t *testing.T) {
	inBubble(t, simulator.ReadLags{"vfs": 10 * time.Second}, func(t *testing.T, r *rig) {
		a := r.instance("a")
		id := r.create("pvc-1")
		first := r.attach(id, a)
		r.must(r.Detach(t.Context(), id, a))
		if second := r.attach(id, a); second == first {
			t.Error("the tag is that of the attachment before")
		}
	})
	inBubble(t, nil, func(t *testing.T, r *rig) {
		a := r.instance("a")
		id := r.create("pvc-1")
		first := r.attach(id, a)
		r.cloud.AwaitReads()
		r.must(r.Detach(t.Context(), id, a))
		// Some reads come from a part of the platform that is far behind.
		r.cloud.Fault(simulator.Fault{Operation: "list_vfs_attachments", Action: simulator.FaultStale, LagMS: 20_000, Times: 3})
		if second := r.attach(id, a); second == first {
			t.Error("the tag is that of the attachment before")
		}
	})
}

// TestAttachThatAnotherBegan: an attachment that another process made counts when it stays; one that is being taken away
// meanwhile does not.
func TestAttachThatAnotherBegan(t *testing.T) {
	t.Run("it stays", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			a := r.instance("a")
			id := r.create("pvc-1")
			tag := r.attach(id, a)
			other, began := r.another(), time.Now()
			if got := other.attach(id, a); got != tag || time.Since(began) < 30*time.Second {
				t.Errorf("got tag %s after %s, it is %s", got, time.Since(began), tag)
			}
		})
	})
	t.Run("it leaves", func(t *testing.T) {
		inBubble(t, simulator.ReadLags{"vfs": 10 * time.Second}, func(t *testing.T, r *rig) {
			a := r.instance("a")
			id := r.create("pvc-1")
			first := r.attach(id, a)
			r.cloud.AwaitReads()
			r.must(r.api.DetachFileSystem(t.Context(), id, a))
			if second := r.another().attach(id, a); second == first {
				t.Error("the tag is that of the attachment that was being taken away")
			}
		})
	})
}

// TestAttachWithoutAnswer: an attach whose answer was lost is found, and nothing is attached twice.
func TestAttachWithoutAnswer(t *testing.T) {
	for name, action := range map[string]simulator.FaultAction{
		"not done": simulator.FaultResetBefore, "done": simulator.FaultResetAfter, "5xx after it": simulator.FaultStatusAfter, "twice": simulator.FaultDuplicate,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				a := r.instance("a")
				id := r.create("pvc-1")
				r.cloud.Fault(simulator.Fault{Operation: "attach_vfs", Action: action, Status: statusOf(action), Times: 1})
				var got volume.Attachment
				r.must(r.repeat(5*time.Minute, func(ctx context.Context) (err error) {
					got, err = r.Attach(ctx, id, a)
					return err
				}))
				if f, _ := r.view(id); len(f.Attachments) != 1 || got.Serial == "" {
					t.Errorf("answered %+v, in truth %+v", got, f.Attachments)
				}
				r.attach(id, a)
			})
		})
	}
}

func TestAttachRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		ctx := t.Context()
		id := r.create("pvc-1")
		old := r.cloud.AddInstance(simulator.NewServer{Label: "old", PrivateMemory: true})
		metal := r.cloud.AddBareMetal(simulator.NewServer{Label: "metal"})
		far := r.cloud.AddInstance(simulator.NewServer{Label: "far", Region: "ams"})
		locked := r.cloud.AddInstance(simulator.NewServer{Label: "locked", Locked: true})
		attach := func(id, instance string) error {
			_, err := r.Attach(ctx, id, instance)
			return err
		}
		r.want(attach(id, old), volume.InUse, "redeployed", old)
		r.want(attach(id, metal), volume.Invalid, "bare metal", "NFS")
		r.want(attach(id, far), volume.Invalid, "ewr", "ams")
		before := len(r.cloud.Requests())
		r.want(attach(id, far), volume.Invalid, "ewr", "ams")
		if n := len(r.cloud.Requests()) - before; n != 0 {
			t.Errorf("an attach across regions that are known costs %d calls", n)
		}
		r.want(attach(id, locked), volume.Busy, "locked")
		r.want(attach(id, "0c6a5f2e-7a3e-4f0e-9a43-0c4c5d0b8a01"), volume.NotFound, "instance")
		r.want(attach("0c6a5f2e-7a3e-4f0e-9a43-0c4c5d0b8a01", old), volume.NotFound, "0c6a5f2e")
		if f, _ := r.view(id); len(f.Attachments) != 0 {
			t.Errorf("attached are %+v", f.Attachments)
		}
	})
}

// TestAlone: access modes of one node are kept here: the platform would attach to any number.
func TestAlone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		ctx, a, b := t.Context(), r.instance("a"), r.instance("b")
		id := r.create("pvc-1")
		r.must(r.checkAlone(ctx, id, a))
		r.attach(id, a)
		r.cloud.AwaitReads()
		r.must(r.checkAlone(ctx, id, strings.ToUpper(a)))
		r.want(r.checkAlone(ctx, id, b), volume.InUse, a, "ReadWriteMany")
		r.must(r.api.DetachFileSystem(ctx, id, a))
		r.cloud.Await("a detach that shows", func() bool {
			list, err := r.api.FileSystemAttachments(ctx, id, 0)
			return err == nil && len(list.Items) == 1 && isLeaving(list.Items[0])
		})
		r.want(r.checkAlone(ctx, id, b), volume.Busy, a)
		r.want(r.checkAlone(ctx, "0c6a5f2e-7a3e-4f0e-9a43-0c4c5d0b8a01", b), volume.NotFound)
	})
}

// TestAloneDespiteLateReads: a read that is older than an attach for which this process has answered shows no instance. One
// that a detach of this process has freed, and one of long ago, are in nobody's way.
func TestAloneDespiteLateReads(t *testing.T) {
	inBubble(t, simulator.ReadLags{"load_balancers": 5 * time.Minute}, func(t *testing.T, r *rig) { // so that the past is kept
		ctx, a, b := t.Context(), r.instance("a"), r.instance("b")
		lag := func(lags simulator.ReadLags) { r.must(r.cloud.Sim.SetReadLags(lags)) }
		id := r.create("pvc-1")
		time.Sleep(time.Minute) // of the fake clock
		r.attach(id, a)
		time.Sleep(5 * time.Second) // of the fake clock
		lag(simulator.ReadLags{"vfs": 20 * time.Second})
		r.want(r.checkAlone(ctx, id, b), volume.Busy, a)
		r.must(r.checkAlone(ctx, id, a))
		lag(nil)
		r.must(r.Detach(ctx, id, a))
		r.must(r.checkAlone(ctx, id, b))
		r.attach(id, b)
		r.must(r.api.DetachFileSystem(ctx, id, b)) // by somebody else
		time.Sleep(2 * time.Minute)                // of the fake clock
		r.must(r.checkAlone(ctx, id, a))
	})
}

// TestAloneAfterAWait: another controller, which leads by now, attaches the file system elsewhere while an order of this one
// waits for its turn.
func TestAloneAfterAWait(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		ctx, a, b := t.Context(), r.instance("a"), r.instance("b")
		id := r.create("pvc-1")
		turn, err := r.base.Enter(ctx, a)
		r.must(err)
		waiting := make(chan error, 1)
		go func() {
			_, err := r.AttachAlone(ctx, id, a)
			waiting <- err
		}()
		time.Sleep(5 * time.Second) // of the fake clock: it has looked, and waits
		_, err = r.another().AttachAlone(ctx, id, b)
		r.must(err)
		r.cloud.AwaitReads()
		turn.Leave()
		r.want(<-waiting, volume.InUse, b)
		if f, _ := r.view(id); len(f.Attachments) != 1 {
			t.Errorf("attached are %+v", f.Attachments)
		}
		_, err = r.another().AttachAlone(ctx, id, b)
		r.must(err)
	})
}

// TestAloneDespiteAHeldOrder: this controller stands still between its last look and its order, and goes on when another one, which
// leads by now, has attached the file system elsewhere. The platform refuses nothing. What nobody was told of is taken back, also
// when the caller gives up meanwhile.
func TestAloneDespiteAHeldOrder(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		ctx, a, b := t.Context(), r.instance("a"), r.instance("b")
		id := r.create("pvc-1")
		hold := r.cloud.Hold("attach_vfs", simulator.FaultHoldBefore)
		held := make(chan error, 1)
		calling, giveUp := context.WithCancel(ctx)
		go func() {
			_, err := r.AttachAlone(calling, id, a)
			held <- err
		}()
		hold.Wait()
		_, err := r.another().AttachAlone(ctx, id, b)
		r.must(err)
		detach := r.cloud.Hold("detach_vfs", simulator.FaultHoldBefore)
		hold.Release()
		detach.Wait()
		giveUp()
		detach.Release()
		r.want(<-held, volume.InUse, a, b)
		if at := r.at(id, a); at.State != "" {
			t.Errorf("left behind is %+v", at)
		}
		if at := r.at(id, b); at.State != "ATTACHED" {
			t.Errorf("the other's is %+v", at)
		}
		_, err = r.AttachAlone(ctx, id, a)
		r.want(err, volume.InUse, b)
	})
}

// TestOfTheOfficialDriver: what the official driver made and attached is detached, grown and deleted.
func TestOfTheOfficialDriver(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		ctx, a := t.Context(), r.instance("a")
		official := r.another().api
		f, err := official.CreateFileSystem(ctx, vultr.FileSystemRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10})
		r.must(err)
		_, err = official.WaitFileSystem(ctx, f.ID, func(f vultr.FileSystem) (bool, error) { return f.Active(), nil })
		r.must(err)
		_, err = official.AttachFileSystem(ctx, f.ID, a)
		r.must(err)
		_, err = official.WaitFileSystemAttachment(ctx, f.ID, a, func(a vultr.FileSystemAttachment) (bool, error) { return a.Attached(), nil })
		r.must(err)
		if id := r.create("pvc-1"); id != f.ID {
			t.Errorf("the name means %s, the official driver made %s", id, f.ID)
		}
		v, nodeStep, err := r.Expand(ctx, f.ID, volume.Capacity{Required: 20 * volume.GiB})
		if err != nil || nodeStep || v.SizeGiB != 20 {
			t.Errorf("grown: %+v, %t, %v", v, nodeStep, err)
		}
		r.must(r.Detach(ctx, f.ID, a))
		r.must(r.Delete(ctx, f.ID))
	})
}
