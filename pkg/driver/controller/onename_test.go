package controller_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// kinds are the storage types, with the API calls that create and list them.
var kinds = []struct{ storageType, create, list string }{
	{"block", "create_block", "list_blocks"},
	{"vfs", "create_vfs", "list_vfs"},
}

// lag is how far reads are behind in these tests, less than the time after which a list proves that a create made nothing.
const lag = 3 * time.Second

// createOf asks for a volume of a storage type.
func (r *rig) createOf(storageType, name string) (*csi.Volume, error) {
	return r.createWithin(r.t.Context(), storageType, name)
}

func (r *rig) createWithin(ctx context.Context, storageType, name string) (*csi.Volume, error) {
	request := createRequest(name, 10)
	request.Parameters = map[string]string{"storage_type": storageType}
	resp, err := r.CreateVolume(ctx, request)
	return resp.GetVolume(), err
}

// mustCreateOf is createOf for what has to work.
func (r *rig) mustCreateOf(storageType, name string) (id string) {
	r.t.Helper()
	v, err := r.createOf(storageType, name)
	want(r.t, err, codes.OK)
	return v.GetVolumeId()
}

// made are the storage types of the volumes of a name, in truth.
func (r *rig) made(name string) (all []string) {
	view := r.cloud.Sim.View()
	for _, b := range view.Blocks {
		if b.Label == name {
			all = append(all, "block")
		}
	}
	for _, f := range view.FileSystems {
		if f.Label == name {
			all = append(all, "vfs")
		}
	}
	return all
}

// wantMade checks that the name has one volume, of the storage type.
func (r *rig) wantMade(name, storageType string) {
	r.t.Helper()
	if got := r.made(name); !slices.Equal(got, []string{storageType}) {
		r.t.Errorf("of the name %s there are %v, want one of %s", name, got, storageType)
	}
}

// inTurn runs a test for a name that comes with one storage type first and with another one then.
func inTurn(t *testing.T, test func(t *testing.T, r *rig, first, then int)) {
	t.Helper()
	for first := range kinds {
		t.Run(kinds[first].storageType+" first", func(t *testing.T) {
			t.Parallel()
			inBubble(t, simulator.Config{ReadLags: simulator.ReadLags{"blocks": lag, "vfs": lag}}, func(t *testing.T, r *rig) { test(t, r, first, 1-first) })
		})
	}
}

// TestOneNameOfTwoKinds: a name is that of one volume. Who asks for one of another storage type is told which there is, whoever
// made it, and gets one when that is deleted.
func TestOneNameOfTwoKinds(t *testing.T) {
	t.Parallel()
	inTurn(t, func(t *testing.T, r *rig, first, then int) {
		is, asked := kinds[first].storageType, kinds[then].storageType
		id := r.mustCreateOf(is, "pvc-1")
		for range 2 {
			_, err := r.createOf(asked, "pvc-1")
			want(t, err, codes.AlreadyExists, id, "pvc-1", is, asked, "StorageClass")
		}
		_, err := newRigInBubble(t, r.cloud).createOf(asked, "pvc-1")
		want(t, err, codes.AlreadyExists, id)
		if again := r.mustCreateOf(is, "pvc-1"); again != id {
			t.Errorf("asked again it is %s, it was %s", again, id)
		}
		time.Sleep(10 * time.Minute) // of the fake clock: longer than creates are remembered
		_, err = r.createOf(asked, "pvc-1")
		want(t, err, codes.AlreadyExists, id)
		r.wantMade("pvc-1", is)

		want(t, r.delete(id), codes.OK)
		r.mustCreateOf(asked, "pvc-1")
		r.wantMade("pvc-1", asked)
	})
}

// TestOneNameAfterALostAnswer: nobody was told of what the first create made, and reads do not show it yet. While that cannot be
// found out, nothing is made.
func TestOneNameAfterALostAnswer(t *testing.T) {
	t.Parallel()
	inTurn(t, func(t *testing.T, r *rig, first, then int) {
		r.cloud.Fault(simulator.Fault{Operation: kinds[first].create, Action: simulator.FaultResetAfter, Times: 1})
		short, cancel := context.WithTimeout(t.Context(), lag)
		defer cancel()
		if _, err := r.createWithin(short, kinds[first].storageType, "pvc-1"); err == nil {
			t.Fatal("the create has an answer")
		}
		lists := r.cloud.Fault(simulator.Fault{Operation: kinds[first].list, Action: simulator.FaultStatus, Status: http.StatusForbidden})
		_, err := r.createOf(kinds[then].storageType, "pvc-1")
		want(t, err, codes.Unavailable, "pvc-1")
		r.cloud.Sim.RemoveFault(lists)
		_, err = r.createOf(kinds[then].storageType, "pvc-1")
		want(t, err, codes.AlreadyExists, "pvc-1")
		r.wantMade("pvc-1", kinds[first].storageType)
	})
}

// TestOneNameOfTwoLeaders: what another process made while it led is found by the one that leads after it, by one list for as
// long as it leads.
func TestOneNameOfTwoLeaders(t *testing.T) {
	t.Parallel()
	inTurn(t, func(t *testing.T, r *rig, first, then int) {
		is, asked := kinds[first].storageType, kinds[then].storageType
		other := newRigInBubble(t, r.cloud)
		cost := func(what string, names []string, planned int) {
			t.Helper()
			before := r.cloud.Count(kinds[first].list)
			for _, name := range names {
				r.mustCreateOf(asked, name)
				time.Sleep(time.Minute) // of the fake clock
			}
			if n := r.cloud.Count(kinds[first].list) - before; n != planned {
				t.Errorf("%s, %d creates cost %d lists of the other kind, %d are planned", what, len(names), n, planned)
			}
		}
		cost("a new process", []string{"a", "b", "c"}, 1)
		other.mustCreateOf(is, "pvc-1")
		time.Sleep(time.Minute) // of the fake clock
		r.disks.CallerBegan()
		_, err := r.createOf(asked, "pvc-1")
		want(t, err, codes.AlreadyExists, "pvc-1")
		r.wantMade("pvc-1", is)
		cost("a process that leads on", []string{"d", "e"}, 0)
	})
}

// TestOneNameAtOnce: of two calls of one process with one name one is refused, whatever they ask for.
func TestOneNameAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		answers := make(chan error)
		for _, k := range kinds {
			go func() {
				_, err := r.createOf(k.storageType, "pvc-1")
				answers <- err
			}()
		}
		one, two := <-answers, <-answers
		if codesOf := []codes.Code{status.Code(one), status.Code(two)}; !slices.Contains(codesOf, codes.OK) || !slices.Contains(codesOf, codes.Aborted) {
			t.Errorf("got %v and %v", one, two)
		}
		if all := r.made("pvc-1"); len(all) != 1 {
			t.Errorf("made are %v", all)
		}
	})
}

// TestOneNameOfWhoStoodStill: a process stands still with its create under way, and another one leads meanwhile and makes a
// volume of the name of another storage type. The first takes back what it made, of which nobody was told.
func TestOneNameOfWhoStoodStill(t *testing.T) {
	t.Parallel()
	inTurn(t, func(t *testing.T, r *rig, first, then int) {
		is, asked := kinds[first].storageType, kinds[then].storageType
		late := func(name string, meanwhile func()) error {
			hold, answer := r.cloud.Hold(kinds[then].create, simulator.FaultHoldBefore), make(chan error, 1)
			go func() {
				_, err := r.createOf(asked, name)
				answer <- err
			}()
			hold.Wait()
			meanwhile()
			time.Sleep(20 * time.Second) // of the fake clock: as long as a lease lasts
			hold.Release()
			return <-answer
		}
		other := newRigInBubble(t, r.cloud)
		err := late("pvc-1", func() { other.mustCreateOf(is, "pvc-1") })
		want(t, err, codes.AlreadyExists, "pvc-1", is, "deleted again")
		r.wantMade("pvc-1", is)
		want(t, late("pvc-2", func() {}), codes.OK)
		r.wantMade("pvc-2", asked)
	})
}

// TestOneNameWithoutTheOtherKind: a kind of storage whose API is down, or for which the key has no right, keeps no volume of the
// other one from being made, nor for long from being made at once.
func TestOneNameWithoutTheOtherKind(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]simulator.Fault{
		"refused": {Action: simulator.FaultStatus, Status: http.StatusForbidden},
		"down":    {Action: simulator.FaultStatus, Status: http.StatusServiceUnavailable},
		"hanging": {Action: simulator.FaultHang},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTurn(t, func(t *testing.T, r *rig, first, then int) {
				f := fault
				f.Operation = kinds[first].list
				id := r.cloud.Fault(f)
				began := time.Now()
				r.mustCreateOf(kinds[then].storageType, "a")
				once := time.Since(began)
				before := r.cloud.Count(kinds[first].list)
				began = time.Now()
				r.mustCreateOf(kinds[then].storageType, "b")
				if n, again := r.cloud.Count(kinds[first].list)-before, time.Since(began); n != 0 || once > again+6*time.Second {
					t.Errorf("the first took %s, the next one %s and %d lists", once, again, n)
				}
				r.cloud.Sim.RemoveFault(id)
				newRigInBubble(t, r.cloud).mustCreateOf(kinds[first].storageType, "c")
				time.Sleep(time.Minute) // of the fake clock
				_, err := r.createOf(kinds[then].storageType, "c")
				want(t, err, codes.AlreadyExists, "c")
			})
		})
	}
}
