package vultr_test

import (
	"context"
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func mountable(a vultr.FileSystemAttachment) (bool, error) { return a.Attached(), nil }

func unplugged(a vultr.FileSystemAttachment) (bool, error) {
	return a == vultr.FileSystemAttachment{}, nil
}

// fileSystem makes a file system that can be attached.
func fileSystem(ctx context.Context, t *testing.T, c *vultr.Client) vultr.FileSystem {
	t.Helper()
	f, err := c.CreateFileSystem(ctx, vultr.FileSystemRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10, Tags: []string{"k8s"}})
	f = must(t, f, err)
	f, err = c.WaitFileSystem(ctx, f.ID, func(f vultr.FileSystem) (bool, error) { return f.Active(), nil })
	return must(t, f, err)
}

func TestContractFileSystems(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	f := fileSystem(ctx, t, c)
	if f.Label != "pvc-1" || f.Region != "ewr" || f.SizeGB != 10 || f.DiskType != "nvme" || !slices.Equal(f.Tags, []string{"k8s"}) || f.Created.IsZero() {
		t.Errorf("got %+v", f)
	}
	for _, size := range []int{20, 20, 15} { // it never shrinks
		if err := c.ResizeFileSystem(ctx, f.ID, size); err != nil {
			t.Errorf("%d GB: %v", size, err)
		}
		awaited(ctx, t, cloud, c.FileSystem, f.ID, func(f vultr.FileSystem) bool { return f.SizeGB == 20 })
	}
	if err := c.RelabelFileSystem(ctx, f.ID, "pvc-2"); err != nil {
		t.Error(err)
	}
	found := named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.FileSystem], error) { return c.FileSystems(ctx, 0) },
		func(f vultr.FileSystem) bool { return f.Label == "pvc-2" })
	cloud.AwaitReads()
	if got, err := c.FileSystem(ctx, f.ID); err != nil || got.SizeGB != 20 || got.Label != "pvc-2" || len(found) != 1 || found[0].ID != got.ID {
		t.Errorf("read %+v, %v; listed %+v", got, err, found)
	}
	if regions, err := c.FileSystemRegions(ctx); err != nil || !slices.Contains(regions, "ewr") || slices.Contains(regions, "fra") {
		t.Errorf("regions %v, %v", regions, err)
	}
	if _, err := c.CreateFileSystem(ctx, vultr.FileSystemRequest{Label: "x", Region: "fra", SizeGB: 10}); !vultr.IsInvalid(err) || vultr.IsOutcomeUnknown(err) {
		t.Errorf("in a region without: %v", err)
	}
	if err := c.DeleteFileSystem(ctx, f.ID); err != nil {
		t.Error(err)
	}
	awaitGone(ctx, t, cloud, c.FileSystem, f.ID)
	for name, err := range map[string]error{
		"read":   func() error { _, err := c.FileSystem(ctx, f.ID); return err }(),
		"resize": c.ResizeFileSystem(ctx, f.ID, 30), "relabel": c.RelabelFileSystem(ctx, f.ID, "x"), "delete": c.DeleteFileSystem(ctx, f.ID),
	} {
		if !vultr.IsNotFound(err) || vultr.IsNotAttached(err) {
			t.Errorf("%s after the delete: %v", name, err)
		}
	}
}

func TestContractFileSystemAttachments(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	f := fileSystem(ctx, t, c)
	var on []string
	for _, label := range []string{"w1", "w2"} {
		instance := cloud.AddInstance(simulator.NewServer{Label: label, Region: "ewr"})
		on = append(on, instance)
		// The answer is lost, the transport asks again, and the platform calls that a conflict.
		cloud.Fault(simulator.Fault{Operation: "attach_vfs", Action: simulator.FaultResetAfter, Times: 1})
		if _, err := c.AttachFileSystem(ctx, f.ID, instance); !vultr.IsConflict(err) || !vultr.IsOutcomeUnknown(err) {
			t.Errorf("attach: %v", err)
		}
		if a, err := c.WaitFileSystemAttachment(ctx, f.ID, instance, mountable); err != nil || a.MountTag == "" {
			t.Errorf("attached: %+v, %v", a, err)
		}
	}
	cloud.AwaitReads()
	list, err := c.FileSystemAttachments(ctx, f.ID, 0)
	if all := must(t, list, err).Items; len(all) != 2 || !all[0].Attached() || !all[1].Attached() {
		t.Errorf("got %+v", all)
	}
	if err := c.DeleteFileSystem(ctx, f.ID); !vultr.IsInUse(err) || !vultr.IsConflict(err) {
		t.Errorf("delete while attached: %v", err)
	}
	old := cloud.AddInstance(simulator.NewServer{Label: "old", Region: "ewr", PrivateMemory: true})
	if _, err := c.AttachFileSystem(ctx, f.ID, old); !vultr.IsPrivateMemory(err) || !vultr.IsInvalid(err) {
		t.Errorf("attach to an instance whose memory is not shared: %v", err)
	}
	busy := cloud.AddInstance(simulator.NewServer{Label: "busy", Region: "ewr", Locked: true})
	if _, err := c.AttachFileSystem(ctx, f.ID, busy); !vultr.IsLocked(err) || !vultr.IsConflict(err) {
		t.Errorf("attach to a busy instance: %v", err)
	}
	for _, instance := range on {
		cloud.Fault(simulator.Fault{Operation: "detach_vfs", Action: simulator.FaultResetAfter, Times: 1})
		if err := c.DetachFileSystem(ctx, f.ID, instance); !vultr.IsNotAttached(err) || !vultr.IsOutcomeUnknown(err) {
			t.Errorf("a detach that lost its answer: %v", err)
		}
		if _, err := c.WaitFileSystemAttachment(ctx, f.ID, instance, unplugged); err != nil {
			t.Errorf("detached: %v", err)
		}
		if err := c.DetachFileSystem(ctx, f.ID, instance); !vultr.IsNotAttached(err) || !vultr.IsNotFound(err) {
			t.Errorf("a second detach: %v", err)
		}
	}
	// The platform still sees an attachment for a while.
	err = c.DeleteFileSystem(ctx, f.ID)
	for ctx.Err() == nil && vultr.IsInUse(err) {
		err = c.DeleteFileSystem(ctx, f.ID)
	}
	if err != nil {
		t.Error(err)
	}
	awaitGone(ctx, t, cloud, c.FileSystem, f.ID)
	if _, err := c.WaitFileSystemAttachment(ctx, f.ID, on[0], mountable); !vultr.IsNotFound(err) || vultr.IsNotAttached(err) {
		t.Errorf("attachments of a file system that is gone: %v", err)
	}
}
