package controller_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

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

const blankList = `{"blocks":[],"meta":{"total":0,"links":{"next":"","prev":""}}}`

// blank has no read show a volume, until the returned function is called.
func (r *rig) blank() (end func()) {
	list := r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStatus, Status: 200, Body: blankList})
	single := r.cloud.Fault(simulator.Fault{Operation: "get_block", Action: simulator.FaultStatus, Status: 404})
	return func() {
		r.cloud.Sim.RemoveFault(list)
		r.cloud.Sim.RemoveFault(single)
	}
}

func (r *rig) delete(id string) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	_, err := r.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id})
	return err
}

func (r *rig) list() {
	r.t.Helper()
	if _, err := r.ListVolumes(r.t.Context(), &csi.ListVolumesRequest{}); err != nil {
		r.t.Fatal(err)
	}
}

// otherAccount starts another account of the platform, with machines and a volume of its own if it is busy.
func otherAccount(t *testing.T, busy bool) *simtest.Cloud {
	t.Helper()
	cloud := simtest.Start(t, simtest.Options{Bubble: true, Config: simulator.Config{Keys: []string{"another-account"}}})
	t.Cleanup(func() { time.Sleep(time.Minute) }) // of the fake clock
	if busy {
		addController(cloud)
	}
	return cloud
}

// concludesNothing holds that with the key of the other account nothing counts as gone or detached, and nothing is made.
func concludesNothing(t *testing.T, other *rig, cloud *simtest.Cloud, removed, attached, node string) {
	t.Helper()
	want(t, other.delete(removed), codes.Unavailable, "API key", "Secret", removed)
	want(t, other.unpublish(attached, node), codes.Unavailable, "API key", "Secret", attached)
	want(t, other.unpublish(attached, ""), codes.Unavailable, "API key", "Secret", attached)
	_, err := other.CreateVolume(t.Context(), createRequest("pvc-3", 10))
	want(t, err, codes.Unavailable, "API key", "Secret", "pvc-3")
	if n := cloud.Count("create_block"); n != 0 {
		t.Errorf("%d volumes were made in another account", n)
	}
	// Of these NotFound means to the sidecars that nothing will come of it, and nothing was made.
	_, err = other.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: attached, CapacityRange: &csi.CapacityRange{RequiredBytes: 20 * gib}})
	want(t, err, codes.Unavailable, "API key", "Secret", attached)
	_, err = other.ControllerModifyVolume(t.Context(), &csi.ControllerModifyVolumeRequest{VolumeId: attached, MutableParameters: map[string]string{"label": "x"}})
	want(t, err, codes.Unavailable, "API key", "Secret", attached)
	_, err = other.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "snapshot-1", SourceVolumeId: attached})
	want(t, err, codes.Unavailable, "API key", "Secret", attached)
	_, err = other.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: attached})
	want(t, err, codes.Unavailable, "API key", "Secret", attached)
	_, err = other.ControllerGetVolumeHealth(t.Context(), &csi.ControllerGetVolumeHealthRequest{VolumeId: attached})
	want(t, err, codes.Unavailable, "API key", "Secret", attached)
}

// TestKeyOfAnotherAccount: a controller starts with the key of another account, which knows none of the cluster's volumes and
// instances. Nothing is concluded from that, and with the right key everything goes on.
func TestKeyOfAnotherAccount(t *testing.T) {
	for name, c := range map[string]struct{ busy, knowsSelf bool }{
		"an empty account":                   {},
		"an empty account, own node known":   {knowsSelf: true},
		"somebody's account, own node known": {busy: true, knowsSelf: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
				a, b := r.instance("node-1"), r.instance("node-2")
				kept, removed := r.create("pvc-1").GetVolumeId(), r.create("pvc-2").GetVolumeId()
				r.publish(kept, a)
				time.Sleep(5 * time.Minute) // of the fake clock
				var members account.Members
				if c.knowsSelf {
					members = memberIs(r.self)
				}
				cloud := otherAccount(t, c.busy)
				concludesNothing(t, newRigAs(t, cloud, r.self, members), cloud, removed, kept, a)

				again := newRigInBubble(t, r.cloud)
				want(t, again.delete(removed), codes.OK)
				want(t, again.unpublish(kept, a), codes.OK)
				again.publish(kept, b)
				r.settled(kept, b)
				if n := len(r.cloud.Sim.View().Blocks); n != 1 {
					t.Errorf("%d volumes are left", n)
				}
			})
		})
	}
}

// switching is a controller whose key is in a file, and whose calls reach the account of the cloud that it is switched to.
type switching struct {
	*rig
	file string

	mu    sync.Mutex
	to    *simtest.Cloud
	conns []net.Conn
}

func newSwitching(t *testing.T, cloud *simtest.Cloud) *switching {
	t.Helper()
	s := &switching{file: filepath.Join(t.TempDir(), "api-key")}
	s.switchTo(t, cloud)
	api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, KeyFile: s.file, StartRate: 500, MaxRate: 500, DialContext: s.dial})
	if err != nil {
		t.Fatal(err)
	}
	s.rig = &rig{cloud: cloud, api: api, t: t}
	region := func(context.Context) (string, error) { return "ewr", nil }
	disks := blockstore.New(api, blockstore.Options{}) // nothing is known of the cluster but what this process sees
	s.Service = controller.New(router.New([]volume.Backend{disks, vfsstore.New(api, blockstore.Options{})}), region, &s.warnings)
	return s
}

func (s *switching) switchTo(t *testing.T, cloud *simtest.Cloud) {
	t.Helper()
	if err := os.WriteFile(s.file, []byte(cloud.Key), 0o600); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = cloud
	for _, conn := range s.conns {
		_ = conn.Close() // some are closed already
	}
	s.conns = nil
}

func (s *switching) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn, err := s.to.Dial(ctx, network, address)
	if err == nil {
		s.conns = append(s.conns, conn)
	}
	return conn, err
}

// TestKeyIsReplacedWhileItRuns: the Secret gets the key of somebody's account, in which nothing is that the process has seen.
func TestKeyIsReplacedWhileItRuns(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		s, a := newSwitching(t, r.cloud), r.instance("node-1")
		kept, removed := s.create("pvc-1").GetVolumeId(), s.create("pvc-2").GetVolumeId()
		s.publish(kept, a)
		time.Sleep(10 * time.Minute) // of the fake clock
		s.create("pvc-4")            // with this the names from before are forgotten
		cloud := otherAccount(t, true)
		s.list()
		s.switchTo(t, cloud)
		time.Sleep(2 * time.Second) // until the file is read again; a list from before is still in memory
		concludesNothing(t, s.rig, cloud, removed, kept, a)
		s.list()
		s.switchTo(t, r.cloud)
		time.Sleep(2 * time.Second) // of the fake clock
		if again := s.create("pvc-1").GetVolumeId(); again != kept {
			t.Errorf("got %s, want %s", again, kept)
		}
		if n := r.cloud.Count("create_block"); n != 3 {
			t.Errorf("by a list of the other account, a second volume was made: %d creates", n)
		}
		want(t, s.unpublish(kept, a), codes.OK)
		r.settled(kept, "")
		want(t, s.delete(removed), codes.OK)
		s.create("pvc-3")
	})
}

// TestUnpublishWhileReadsAreBlank: no read shows the volume for a while. It is not taken for detached: what the platform
// answers to a detach is, as soon as reads are well again.
func TestUnpublishWhileReadsAreBlank(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		a, b := r.instance("node-1"), r.instance("node-2")
		id := r.create("pvc-1").GetVolumeId()
		r.publish(id, a)
		time.Sleep(30 * time.Minute) // of the fake clock
		r = newRigInBubble(t, r.cloud)
		end := r.blank()
		for range 3 {
			want(t, r.unpublish(id, a), codes.Unavailable, id)
			time.Sleep(20 * time.Second) // of the fake clock
		}
		end()
		want(t, r.unpublish(id, a), codes.OK)
		r.publish(id, b)
		r.settled(id, b)
	})
}

// TestBlankReadsTakeFromNoOther: this process knows that the volume is elsewhere by now. A detach names no instance, and is
// not sent while reads are blank.
func TestBlankReadsTakeFromNoOther(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		a, b := r.instance("node-1"), r.instance("node-2")
		id := r.create("pvc-1").GetVolumeId()
		r.publish(id, b)
		time.Sleep(5 * time.Minute) // of the fake clock
		end := r.blank()
		want(t, r.unpublish(id, a), codes.Unavailable, b)
		end()
		want(t, r.unpublish(id, a), codes.OK)
		r.settled(id, b)
	})
}

// TestUnpublishOfAMoment: reads lack the volume once, and show it when it is looked for again.
func TestUnpublishOfAMoment(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		a := r.instance("node-1")
		id := r.create("pvc-1").GetVolumeId()
		r.publish(id, a)
		time.Sleep(30 * time.Minute) // of the fake clock
		end := r.blank()
		time.AfterFunc(time.Second, end)
		want(t, r.unpublish(id, a), codes.Unavailable, "again")
		if n := r.cloud.Count("detach_block"); n != 0 {
			t.Errorf("%d detaches were sent", n)
		}
		want(t, r.unpublish(id, a), codes.OK)
		r.settled(id, "")
	})
}

// TestDeleteIsAnsweredNotFound: a delete is answered 404 though the volume exists. Once is a bad moment, and the delete is
// repeated; while it goes on, the volume is shown, so that nobody is told that it is gone.
func TestDeleteIsAnsweredNotFound(t *testing.T) {
	for name, times := range map[string]int{"once": 1, "for long": 0} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
				id := r.create("pvc-1").GetVolumeId()
				time.Sleep(5 * time.Minute) // of the fake clock
				fault := r.cloud.Fault(simulator.Fault{Operation: "delete_block", Action: simulator.FaultStatus, Status: 404, Times: times})
				if times == 0 {
					want(t, r.delete(id), codes.Unavailable, id)
					want(t, r.delete(id), codes.Unavailable, id)
					r.cloud.Sim.RemoveFault(fault)
				}
				want(t, r.delete(id), codes.OK)
				if n := len(r.cloud.Sim.View().Blocks); n != 0 {
					t.Errorf("the delete answered success and %d volumes are left", n)
				}
			})
		})
	}
}

// TestCreateIsRepeatedWhileReadsAreBlank: a create that was answered is repeated in a moment in which no read shows the volume.
// It makes no second one.
func TestCreateIsRepeatedWhileReadsAreBlank(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id := r.create("pvc-1").GetVolumeId()
		time.Sleep(3 * time.Minute) // of the fake clock
		end := r.blank()
		time.AfterFunc(time.Second, end)
		if again := r.create("pvc-1").GetVolumeId(); again != id {
			t.Errorf("got %s, want %s", again, id)
		}
		if n := r.cloud.Count("create_block"); n != 1 {
			t.Errorf("%d creates were sent", n)
		}
	})
}

// TestNewCluster: a new cluster, of which the controller knows nothing, has a machine and no volume. What never existed
// counts as gone, and the first volume is made.
func TestNewCluster(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		fresh := newRigAs(t, r.cloud, "", nil)
		want(t, fresh.delete(uuid.NewString()), codes.OK)
		want(t, fresh.unpublish(uuid.NewString(), uuid.NewString()), codes.OK)
		fresh.create("pvc-1")
	})
}

// TestFileSystemIsNotFoundOnce: a single read of a shared file system says 404. A list shows it, so that it is not gone.
func TestFileSystemIsNotFoundOnce(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		id := r.fileSystem(node)
		time.Sleep(time.Minute) // of the fake clock
		r.cloud.Fault(simulator.Fault{Operation: "get_vfs", Action: simulator.FaultStatus, Status: 404})
		want(t, r.delete(id), codes.FailedPrecondition, id, node)
		want(t, newRigInBubble(t, r.cloud).unpublish(id, node), codes.OK)
		if a, err := r.api.FileSystemAttachment(t.Context(), id, node); !vultr.IsNotAttached(err) {
			t.Errorf("it is not detached: %+v, %v", a, err)
		}
	})
}

// Reads show nothing while a fresh controller creates what exists already. The second volume, which nobody was told of, is
// deleted when both are shown again, whether the create is repeated or not.
func TestCreateWhileReadsAreBlank(t *testing.T) {
	for name, answer := range map[string]string{
		"none":                `{"blocks":[],"meta":{"total":0,"links":{"next":"","prev":""}}}`,
		"none, but it counts": `{"blocks":[],"meta":{"total":7,"links":{"next":"","prev":""}}}`,
	} {
		for _, repeats := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, repeated %t", name, repeats), func(t *testing.T) {
				inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
					id := r.create("pvc-1").GetVolumeId()
					r = newRigInBubble(t, r.cloud)
					list := r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStatus, Status: 200, Body: answer})
					get := r.cloud.Fault(simulator.Fault{Operation: "get_block", Action: simulator.FaultStatus, Status: 404})
					if resp, err := r.CreateVolume(t.Context(), createRequest("pvc-1", 10)); err == nil {
						t.Errorf("got %v of reads that show nothing", resp)
					}
					r.cloud.Sim.RemoveFault(list)
					r.cloud.Sim.RemoveFault(get)
					if repeats {
						resp, err := r.CreateVolume(t.Context(), createRequest("pvc-1", 10))
						if err != nil || resp.GetVolume().GetVolumeId() != id {
							t.Errorf("got %v, %v, want %s", resp, err, id)
						}
					}
					time.Sleep(30 * time.Minute) // of the bubble's time
					if n := len(r.cloud.Sim.View().Blocks); n != 1 {
						t.Errorf("%d volumes half an hour later, %d were made", n, r.cloud.Count("create_block"))
					}
				})
			})
		}
	}
}

// A key that may not list bare metal servers, or a platform whose list of them fails, does not keep a new process from
// creating volumes.
func TestCreateWithoutTheListOfBareMetal(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusServiceUnavailable} {
		inBubble(t, simulator.Config{}, func(t *testing.T, first *rig) {
			r := newRigAs(t, first.cloud, first.self, memberIs(first.self))
			r.cloud.Fault(simulator.Fault{Method: "GET", Path: "/bare-metals", Action: simulator.FaultStatus, Status: status})
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			if _, err := r.CreateVolume(ctx, createRequest("pvc-1", 10)); err != nil {
				t.Errorf("%d: %v", status, err)
			}
		})
	}
}
