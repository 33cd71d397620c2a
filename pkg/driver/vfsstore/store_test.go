package vfsstore

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestMain(m *testing.M) { testns.Main(m) }

// TestCreateOnce: lost answers, requests that are delivered twice and two controllers at once leave one file system.
func TestCreateOnce(t *testing.T) {
	for name, action := range map[string]simulator.FaultAction{
		"lost": simulator.FaultResetAfter, "5xx after it": simulator.FaultStatusAfter, "delivered twice": simulator.FaultDuplicate,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, simulator.ReadLags{"vfs": 4 * time.Second}, func(t *testing.T, r *rig) {
				r.cloud.Fault(simulator.Fault{Operation: "create_vfs", Action: action, Status: statusOf(action), Times: 1})
				id := r.create("pvc-1")
				r.cloud.Await("one file system of the name", func() bool { return slices.Equal(r.named("pvc-1"), []string{id}) })
				time.Sleep(3 * time.Minute) // of the fake clock
				if all := r.named("pvc-1"); !slices.Equal(all, []string{id}) || r.cloud.Count("create_vfs") != 1 {
					t.Errorf("there are %s after %d creates, the answer was %s", all, r.cloud.Count("create_vfs"), id)
				}
			})
		})
	}
	t.Run("two controllers", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			var both sync.WaitGroup
			var ids [2]string
			for i, r := range []*rig{r, r.another()} {
				both.Go(func() {
					v, err := r.Create(t.Context(), specOf("pvc-1"))
					if err != nil {
						t.Error(err)
					}
					ids[i] = v.ID
				})
			}
			both.Wait()
			r.cloud.Await("one file system of the name", func() bool { return slices.Equal(r.named("pvc-1"), ids[:1]) })
			if ids[0] != ids[1] {
				t.Errorf("the answers are %s", ids)
			}
		})
	})
}

// TestOnlyUnusedDuplicatesGo: a duplicate that an instance has stays, although it is of the same wish and new.
func TestOnlyUnusedDuplicatesGo(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		ctx, a := t.Context(), r.instance("a")
		id := r.create("pvc-1")
		twin, err := r.api.CreateFileSystem(ctx, vultr.FileSystemRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10})
		r.must(err)
		_, err = r.api.WaitFileSystem(ctx, twin.ID, func(f vultr.FileSystem) (bool, error) { return f.Active(), nil })
		r.must(err)
		_, err = r.api.AttachFileSystem(ctx, twin.ID, a)
		r.must(err)
		time.Sleep(4 * time.Minute) // of the fake clock: the name is looked at again
		if all := r.named("pvc-1"); len(all) != 2 {
			t.Errorf("of %s and %s there are %s", id, twin.ID, all)
		}
	})
}

// TestUnusedByTheCount: content makes a duplicate a used one, also when no instance has it any more.
func TestUnusedByTheCount(t *testing.T) {
	cloud := simtest.Start(t, simtest.Options{FileSystems: true})
	cloud.AddInstance(simulator.NewServer{Label: "controller"})
	api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: simtest.Key, StartRate: 500, MaxRate: 500, SettleTime: 100 * time.Millisecond, TimeScale: simtest.FastTimeScale})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Store: New(api, Options{AttachWindow: 600 * time.Millisecond, LookAgain: 50 * time.Millisecond}), api: api, cloud: cloud, t: t}
	id := r.create("pvc-1")
	if unused, err := r.unused(t.Context(), id); err != nil || !unused {
		t.Errorf("an empty one is unused %t, %v", unused, err)
	}
	r.must(os.WriteFile(filepath.Join(cloud.DisksDir, "filesystems", id, "data"), make([]byte, 1<<20), 0o600))
	cloud.Await("a count of what is used", func() bool {
		f, err := api.FileSystem(t.Context(), id)
		return err == nil && f.UsedBytes > 0
	})
	if unused, err := r.unused(t.Context(), id); err != nil || unused {
		t.Errorf("one with content is unused %t, %v", unused, err)
	}
}

// TestGrowth: nothing is sent when the size is reached, nothing shrinks, also by a read that shows less than there is.
func TestGrowth(t *testing.T) {
	inBubble(t, simulator.ReadLags{"vfs": 20 * time.Second}, func(t *testing.T, r *rig) {
		id := r.create("pvc-1")
		expand := func(required, limit int64) (int64, error) {
			v, _, err := r.Expand(t.Context(), id, volume.Capacity{Required: required * volume.GiB, Limit: limit * volume.GiB})
			return v.SizeGiB, err
		}
		if size, err := expand(10, 0); err != nil || size != 10 || r.cloud.Count("update_vfs") != 0 {
			t.Errorf("to its own size: %d, %v, %d changes", size, err, r.cloud.Count("update_vfs"))
		}
		r.must(r.api.ResizeFileSystem(t.Context(), id, 30))
		r.book.grew(id, 30) // by a call that was cut off
		for range 2 {
			if size, err := expand(20, 0); err != nil || size != 30 {
				t.Errorf("below what it was grown to: %d, %v", size, err)
			}
		}
		if f, _ := r.view(id); f.SizeGB != 30 || r.cloud.Count("update_vfs") != 1 {
			t.Errorf("it has %d GB after %d changes", f.SizeGB, r.cloud.Count("update_vfs"))
		}
		_, err := expand(0, 20)
		r.want(err, volume.OutOfRange, "30 GiB")
		if size, err := expand(31, 40); err != nil || size != 31 {
			t.Errorf("grown to %d, %v", size, err)
		}
		_, _, err = r.Expand(t.Context(), "0c6a5f2e-7a3e-4f0e-9a43-0c4c5d0b8a01", volume.Capacity{Required: volume.GiB})
		r.want(err, volume.NotFound)
	})
}

// TestGrowthThatIsNeverDone: the platform accepts a growth and does nothing. It is ordered again as soon as reads cannot lag so far
// any more, and not before.
func TestGrowthThatIsNeverDone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		id := r.create("pvc-1")
		time.Sleep(time.Minute) // of the fake clock
		r.cloud.Fault(simulator.Fault{Operation: "update_vfs", Action: simulator.FaultStatus, Status: 200, Body: `{}`, Times: 1})
		began := time.Now()
		r.must(r.repeat(5*time.Minute, func(ctx context.Context) error {
			_, _, err := r.Expand(ctx, id, volume.Capacity{Required: 20 * volume.GiB})
			return err
		}))
		if f, _ := r.view(id); f.SizeGB != 20 || r.cloud.Count("update_vfs") != 2 {
			t.Errorf("it has %d GB after %d changes", f.SizeGB, r.cloud.Count("update_vfs"))
		}
		if took := time.Since(began); took < 2*r.window || took > 2*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// TestGrowthOfWhatIsNew: single reads lag behind lists, and lack what was just created. That is no proof that it is gone.
func TestGrowthOfWhatIsNew(t *testing.T) {
	inBubble(t, simulator.ReadLags{"vfs.get": 40 * time.Second}, func(t *testing.T, r *rig) {
		id := r.create("pvc-1")
		expand := func(ctx context.Context) error {
			_, _, err := r.Expand(ctx, id, volume.Capacity{Required: 20 * volume.GiB})
			return err
		}
		r.want(expand(t.Context()), volume.Busy, id)
		r.must(r.repeat(time.Minute, expand))
		if f, _ := r.view(id); f.SizeGB != 20 {
			t.Errorf("it has %d GB", f.SizeGB)
		}
	})
}

// TestListIsShared: the list costs a call for each file system, and none for those who take an older answer.
func TestListIsShared(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		for _, name := range []string{"pvc-1", "pvc-2", "pvc-3"} {
			r.create(name)
		}
		time.Sleep(5 * time.Minute) // of the fake clock
		r.cloud.Sim.ResetRequests()
		for range 3 {
			if all, err := r.List(t.Context(), time.Minute); err != nil || len(all) != 3 {
				t.Errorf("listed %+v, %v", all, err)
			}
		}
		if n := len(r.cloud.Requests()); n != 4 {
			t.Errorf("it cost %d calls", n)
		}
		// No part may be missing: what a list lacks counts as detached.
		r.cloud.Fault(simulator.Fault{Operation: "list_vfs_attachments", Action: simulator.FaultStatus, Status: 400, Times: 1})
		if all, err := r.List(t.Context(), 0); err == nil {
			t.Errorf("listed %+v", all)
		}
	})
}

func TestPlan(t *testing.T) {
	api, err := vultr.New(vultr.Config{BaseURL: "http://127.0.0.1:1", Key: simtest.Key}) // nothing is asked
	if err != nil {
		t.Fatal(err)
	}
	s := New(api, Options{})
	request := func(change func(*volume.Request)) volume.Request {
		r := volume.Request{Name: "pvc-1", Type: volume.NVMe, Regions: []string{"ewr"}, Accesses: []volume.Access{{Mode: volume.MultiNodeMultiWriter}}}
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		change func(*volume.Request)
		reason volume.Reason
		words  string
		size   int64
	}{
		"default": {func(*volume.Request) {}, 0, "", 10},
		"all modes": {func(r *volume.Request) {
			r.Accesses = nil
			for _, m := range []volume.AccessMode{volume.SingleNodeWriter, volume.SingleNodeReader, volume.SingleNodeSingleWriter, volume.SingleNodeMultiWriter, volume.MultiNodeReader, volume.MultiNodeMultiWriter} {
				r.Accesses = append(r.Accesses, volume.Access{Mode: m, FSType: "ext4", Options: []string{"ro,noatime", "dax=inode"}})
			}
		}, 0, "", 10},
		"rounded up": {func(r *volume.Request) { r.Capacity.Required = 11*volume.GiB + 1 }, 0, "", 12},
		"small":      {func(r *volume.Request) { r.Capacity = volume.Capacity{Required: 1, Limit: 5 * volume.GiB} }, volume.OutOfRange, "10 GiB", 0},
		"hdd":        {func(r *volume.Request) { r.Type = volume.HDD }, volume.Invalid, "nvme only", 0},
		"one writer of several nodes": {func(r *volume.Request) {
			r.Accesses = append(r.Accesses, volume.Access{Mode: volume.MultiNodeSingleWriter})
		}, volume.Invalid, "MULTI_NODE_MULTI_WRITER (ReadWriteMany)", 0},
		"block":         {func(r *volume.Request) { r.Accesses[0].Block = true }, volume.Invalid, "vultr-nvme", 0},
		"file system":   {func(r *volume.Request) { r.Accesses[0].FSType = "ntfs" }, volume.Invalid, "ntfs", 0},
		"mount option":  {func(r *volume.Request) { r.Accesses[0].Options = []string{"data=ordered"} }, volume.Invalid, "data=ordered", 0},
		"from a volume": {func(r *volume.Request) { r.Source.Volume = "x" }, volume.Invalid, "snapshots", 0},
	} {
		spec, err := s.Plan(request(c.change))
		if volume.ReasonOf(err) != c.reason || (err == nil) != (c.reason == 0) || spec.SizeGiB != c.size {
			t.Errorf("%s: %+v, %v", name, spec, err)
			continue
		}
		if err != nil {
			wantWords(t, err, c.words)
		}
	}
}

// TestBareList: who does not ask which instances have the file systems does not pay a call for each.
func TestBareList(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		a := r.instance("a")
		for i := range 3 {
			r.attach(r.create("pvc-"+strconv.Itoa(i)), a)
		}
		r.cloud.AwaitReads()
		time.Sleep(time.Minute) // of the fake clock
		before := r.cloud.Count("list_vfs_attachments")
		list, err := r.ListBare(t.Context(), 0)
		if err != nil || len(list) != 3 || list[0].Kind != volume.VFS || len(list[0].AttachedTo) != 0 {
			t.Errorf("got %+v, %v", list, err)
		}
		if calls := r.cloud.Count("list_vfs_attachments") - before; calls != 0 {
			t.Errorf("it took %d looks at attachments", calls)
		}
	})
}
