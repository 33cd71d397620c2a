package life

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/controller"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/router"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/vfsstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// settled is longer than it takes until a name is looked at again for a duplicate, which belongs to a life.
const settled = 4 * time.Minute

// TestBudgets: the lives of BenchmarkCopies, at many phases of the clock and of what the process remembers, cost no more
// calls than planned, the looks for duplicates included, and hardly more time than the platform takes. So does the first
// one of a fresh process. TestBudgetOfALife of the controller holds the same of a blank volume. docs/install.md has the
// calls, of many as well.
func TestBudgets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind    lifeKind
		planned budget
	}{
		// Its name is looked for, an order and two waits, the look for a duplicate; before the delete that again, and for
		// volumes that are being made from it.
		{snapshot(), budget{calls: 10, mean: 9, time: 1.2}},
		// What a blank volume costs, and a look at the snapshot.
		{restore(), budget{calls: 12, mean: 11.5, time: 1.1}},
		// What a blank volume costs, and of its snapshot the look for the name, two orders, two waits and a look for a duplicate.
		{clone(), budget{calls: 19, mean: 17.2, time: 1.1}},
		// For each node an attach and its wait, a detach, its wait and the order that proves its end; four for the create, and
		// two for the delete.
		{shared(), budget{calls: 18, mean: 16.8, time: 1.1}},
	} {
		t.Run(c.kind.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				did := lives(t, c.kind, 20)
				t.Logf("%.2f calls a life, %d at most, in %.3f times what the platform and its reads take", did.mean, did.calls, did.time)
				if did.mean > c.planned.mean || did.calls > c.planned.calls || did.time > c.planned.time {
					t.Errorf("got %+v, planned are %+v", did, c.planned)
				}
			})
		})
	}
}

// TestBudgetsOfMany: many lives at once share their looks, and take hardly longer than the client's own ceiling makes so
// many calls take, or one life takes if that is longer.
func TestBudgetsOfMany(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind    lifeKind
		lives   int
		planned budget
	}{
		{blank(), 200, budget{mean: 4.5, time: 1.15}},
		{snapshot(), 100, budget{mean: 3.5, time: 1.15}},
		{restore(), 100, budget{mean: 4.6, time: 1.4}},
		{clone(), 100, budget{mean: 7.8, time: 1.3}},
		{shared(), 50, budget{mean: 12.4, time: 1.4}},
	} {
		t.Run(c.kind.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				did := atOnce(t, c.kind, c.lives)
				t.Logf("%.2f calls a life, in %.3f times what the ceiling allows", did.mean, did.time)
				if did.mean > c.planned.mean || did.time > c.planned.time {
					t.Errorf("got %+v, planned are %+v", did, c.planned)
				}
			})
		})
	}
}

// atOnce lives many lives of a kind at once, on instances that have ten of them each.
func atOnce(t *testing.T, k lifeKind, n int) (did budget) {
	t.Helper()
	cloud := simtest.Start(t, simtest.Options{Bubble: true})
	o := newOrigin(t, cloud, func() csi.ControllerClient { return inProcess(t, cloud) }, asleep)
	nodes := make([]string, n/10)
	for i := range nodes {
		nodes[i] = cloud.AddInstance(simulator.NewServer{Label: fmt.Sprintf("node-%d", i), Region: region})
	}
	asleep(t, settled)
	before, began := callsOf(cloud), time.Now()
	var all sync.WaitGroup
	for i := range n {
		mine := *o
		mine.nodes = []string{nodes[i%len(nodes)], nodes[(i+1)%len(nodes)]}
		all.Go(func() { k.live(&mine, t, fmt.Sprint(i)) })
	}
	all.Wait()
	took := time.Since(began)
	asleep(t, settled)
	calls := float64(callsOf(cloud) - before)
	did.mean, did.time = calls/float64(n), took.Seconds()/max(calls/ceiling, k.shown().Seconds())
	return did
}

// asleep is a pause of a sidecar.
func asleep(_ testing.TB, d time.Duration) {
	time.Sleep(d) // of the fake clock
}

// budget is what lives cost.
type budget struct {
	calls int     // for one life at most
	mean  float64 // for one life, of many
	time  float64 // over what the platform takes until its reads show it, of many
}

// lives lives many lives of a kind.
func lives(t *testing.T, k lifeKind, n int) (did budget) {
	t.Helper()
	cloud := simtest.Start(t, simtest.Options{Bubble: true})
	random := rand.New(rand.NewPCG(8, 10))
	o := newOrigin(t, cloud, func() csi.ControllerClient { return inProcess(t, cloud) }, asleep)
	o.between = func(least, most time.Duration) {
		time.Sleep(least + time.Duration(random.Int64N(int64(most-least)))) // of the fake clock
	}
	o.between(settled, settled+time.Hour)
	began, took := callsOf(cloud), time.Duration(0)
	for i := range n {
		before, seen := callsOf(cloud), len(cloud.Requests())
		l := k.live(o, t, fmt.Sprint(i))
		o.between(settled, settled+time.Minute)
		if cost := callsOf(cloud) - before; cost > did.calls {
			did.calls = cost
			t.Logf("life %d:\n%s\nand in all:", i, l)
			for _, r := range cloud.Requests()[seen:] {
				t.Logf("%s %s: %d", r.Began.Format("04:05.00"), r.Operation, r.Status)
			}
		}
		took += l.took()
	}
	did.mean, did.time = float64(callsOf(cloud)-began)/float64(n), took.Seconds()/float64(n)/k.shown().Seconds()
	return did
}

// inProcess is a controller as the program makes it.
func inProcess(t *testing.T, cloud *simtest.Cloud) csi.ControllerClient {
	t.Helper()
	api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key, StartRate: ceiling, MaxRate: ceiling, DialContext: cloud.Dial})
	if err != nil {
		t.Fatal(err)
	}
	options := blockstore.Options{Account: account.New(api, nil)}
	disks := blockstore.New(api, options)
	options.Beside = disks
	backends := []volume.Backend{disks, vfsstore.New(api, options)}
	return local{server: controller.New(router.New(backends), func(context.Context) (string, error) { return region, nil }, nil)}
}

// local is a controller in the same process. It has what a life needs.
type local struct {
	csi.ControllerClient

	server csi.ControllerServer
}

func (l local) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest, _ ...grpc.CallOption) (*csi.CreateVolumeResponse, error) {
	return l.server.CreateVolume(ctx, req)
}

func (l local) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest, _ ...grpc.CallOption) (*csi.DeleteVolumeResponse, error) {
	return l.server.DeleteVolume(ctx, req)
}

func (l local) ControllerPublishVolume(ctx context.Context, req *csi.ControllerPublishVolumeRequest, _ ...grpc.CallOption) (*csi.ControllerPublishVolumeResponse, error) {
	return l.server.ControllerPublishVolume(ctx, req)
}

func (l local) ControllerUnpublishVolume(ctx context.Context, req *csi.ControllerUnpublishVolumeRequest, _ ...grpc.CallOption) (*csi.ControllerUnpublishVolumeResponse, error) {
	return l.server.ControllerUnpublishVolume(ctx, req)
}

func (l local) CreateSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest, _ ...grpc.CallOption) (*csi.CreateSnapshotResponse, error) {
	return l.server.CreateSnapshot(ctx, req)
}

func (l local) DeleteSnapshot(ctx context.Context, req *csi.DeleteSnapshotRequest, _ ...grpc.CallOption) (*csi.DeleteSnapshotResponse, error) {
	return l.server.DeleteSnapshot(ctx, req)
}
