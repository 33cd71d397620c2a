package simulator_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// recorder is a Machine that writes down its calls, and what the API says of the instance while they run.
type recorder struct {
	mu    sync.Mutex
	calls []string
	fail  error
	// during runs inside every call.
	during func(what string, i simulator.MachineInfo)
}

func (r *recorder) call(what string, i simulator.MachineInfo) error {
	if r.during != nil {
		r.during(what, i)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		r.calls = append(r.calls, what+" failed")
		return r.fail
	}
	r.calls = append(r.calls, what)
	return nil
}

func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := strings.Join(r.calls, ", ")
	r.calls = nil
	return out
}

func (r *recorder) setFail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

func (r *recorder) Start(_ context.Context, i simulator.MachineInfo) error { return r.call("start", i) }

func (r *recorder) Kill(_ context.Context, i simulator.MachineInfo) error { return r.call("kill", i) }

func (r *recorder) Reboot(_ context.Context, i simulator.MachineInfo) error {
	return r.call("reboot", i)
}

func (r *recorder) DiskPlugged(_ context.Context, i simulator.MachineInfo, d simulator.MachineDisk) error {
	return r.call("plugged "+d.Serial, i)
}

func (r *recorder) DiskUnplugged(_ context.Context, i simulator.MachineInfo, d simulator.MachineDisk) error {
	return r.call("unplugged "+d.Serial, i)
}

// slow is a Machine whose starts and kills take their time.
type slow struct {
	recorder
	takes time.Duration
}

func (s *slow) wait(ctx context.Context) error {
	select {
	case <-time.After(s.takes):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slow) Start(ctx context.Context, i simulator.MachineInfo) error {
	return errors.Join(s.wait(ctx), s.call("start", i))
}

func (s *slow) Kill(ctx context.Context, i simulator.MachineInfo) error {
	return errors.Join(s.wait(ctx), s.call("kill", i))
}

// TestSlowMachines get the time that they were promised, also in a transition that calls them twice.
func TestSlowMachines(t *testing.T) {
	for allowed, takes := range map[time.Duration]time.Duration{
		0: simulator.DefaultMachineTimeout - time.Second, time.Hour: time.Hour - time.Second,
	} {
		m := &slow{takes: takes}
		bubble(t, simulator.Config{Machine: m, MachineTimeout: allowed, Disks: newMemoryDisks()}, func(w *world) {
			id := w.post("/v2/instances", anInstance).is(202).text("instance.id")
			w.pass(time.Minute + takes)
			b := w.nvme()
			w.attach(b, id).is(204)
			w.pass(time.Minute)
			w.post("/v2/blocks/"+b+"/detach", `{}`).is(204)
			w.pass(time.Minute + 2*takes)
			if got := m.take(); strings.Count(got, "start") != 2 || strings.Count(got, "kill") != 1 {
				w.Errorf("with %v for each call of %v the machine was told %q", allowed, takes, got)
			}
			w.block(b).has("block.attached_to_instance", "")
		})
	}
}

func TestMachineIsTold(t *testing.T) {
	m := &recorder{}
	bubble(t, simulator.Config{Machine: m, Disks: newMemoryDisks()}, func(w *world) {
		expect := func(when, want string) {
			w.Helper()
			if got := m.take(); got != want {
				w.Errorf("after %s the machine was told %q, want %q", when, got, want)
			}
		}
		id := w.post("/v2/instances", anInstance).is(202).text("instance.id")
		w.pass(time.Minute)
		expect("create", "start")
		b := w.nvme()
		serial := w.block(b).text("block.mount_id")
		w.attach(b, id).is(204)
		w.pass(5 * time.Second)
		expect("live attach", "plugged "+serial)
		w.post("/v2/blocks/"+b+"/detach", `{}`).is(204)
		w.pass(5 * time.Second)
		expect("cold detach", "kill, start, unplugged "+serial)
		w.post("/v2/instances/"+id+"/reboot", "").is(204)
		w.pass(5 * time.Second)
		expect("reboot", "reboot")
		if got := w.reboots(id); got != 2 {
			w.Errorf("%d restarts are counted, want 2", got)
		}
		w.post("/v2/instances/"+id+"/halt", "").is(204)
		w.instance(id).has("instance.power_status", "running")
		w.pass(10 * time.Second)
		w.instance(id).has("instance.power_status", "stopped")
		expect("halt", "kill")
		w.post("/v2/instances/"+id+"/halt", "").is(204)
		w.pass(10 * time.Second)
		expect("second halt", "kill")
		w.post("/v2/instances/"+id+"/start", "").is(204)
		w.post("/v2/instances/"+id+"/halt", "").is(204) // the last one asked for wins
		w.pass(time.Minute)
		expect("start and halt", "start, kill")
		w.instance(id).has("instance.power_status", "stopped")
		w.delete("/v2/instances/" + id).is(204)
		expect("delete", "kill")
	})
}

// The API must not say that a machine is gone while it lives, nor give its disks to another one.
func TestNothingIsGivenAwayBeforeTheMachineIsDead(t *testing.T) {
	m, disks := &recorder{}, newMemoryDisks()
	bubble(t, simulator.Config{Machine: m, Disks: disks}, func(w *world) {
		id, b := w.server(simulator.NewServer{Label: "i"}), w.nvme()
		w.attach(b, id).is(204)
		w.pass(5 * time.Second)
		lb := w.newBalancer(`{"region":"ewr","instances":["` + id + `"]}`)
		m.take()
		m.during = func(what string, i simulator.MachineInfo) {
			v := w.sim.View()
			alive := slices.ContainsFunc(v.Instances, func(o simulator.InstanceView) bool { return o.ID == i.ID && o.PowerStatus == "running" })
			if what == "kill" && !alive {
				w.Errorf("the instance is gone before its machine is dead")
			}
		}
		m.setFail(errors.New("the machine does not die"))
		w.delete("/v2/instances/" + id).is(204)
		w.instance(id).has("instance.status", "active").has("instance.power_status", "running")
		w.delete("/v2/instances/"+id).refused(400, "Server is pending destruction")
		w.attach(w.nvme(), id).refused(400, "Server is pending destruction")
		w.balancer(lb).has("load_balancer.instances", []any{id})
		if at, _ := disks.Plugged(w.ctx); at[b] != id {
			w.Errorf("the disk left a machine that lives")
		}
		tr := w.sim.View().Transitions
		if len(tr) != 1 || tr[0].Attempts < 5 || !strings.Contains(tr[0].Error, "does not die") {
			w.Errorf("the view shows %+v, want the failing destruction", tr)
		}
		m.setFail(nil)
		w.pass(2 * time.Second)
		w.get("/v2/instances/" + id).is(404)
		w.balancer(lb).has("load_balancer.instances", []any{})
		w.pass(10 * time.Second)
		w.block(b).has("block.attached_to_instance", "")
		if at, _ := disks.Plugged(w.ctx); len(at) != 0 {
			w.Errorf("still plugged: %v", at)
		}
	})
}

func TestBusyDiskStaysAttached(t *testing.T) {
	disks := newMemoryDisks()
	bubble(t, simulator.Config{Disks: disks}, func(w *world) {
		id, b := w.server(simulator.NewServer{Label: "i"}), w.nvme()
		w.attach(b, id).is(204)
		w.pass(5 * time.Second)
		disks.hold(b, "mounted on /data")
		w.detach(b).is(204)
		w.pass(30 * time.Second)
		w.block(b).has("block.attached_to_instance", id)
		if got := w.sim.View().Blocks[0].Holder; got != "mounted on /data" {
			w.Errorf("the view names the holder %q", got)
		}
		w.detach(b).refused(400, "Block storage volume is not currently attached to a server")
		disks.hold(b, "")
		w.pass(2 * time.Second)
		w.block(b).has("block.attached_to_instance", "")
		if got := w.sim.View().Blocks[0].Holder; got != "" {
			w.Errorf("the view still names the holder %q", got)
		}
	})
}

func TestGrowthOnReattachOnly(t *testing.T) {
	disks := newMemoryDisks()
	bubble(t, simulator.Config{Disks: disks, GrowOnReattach: true}, func(w *world) {
		id, b := w.server(simulator.NewServer{Label: "i"}), w.nvme()
		w.attach(b, id).is(204)
		w.pass(5 * time.Second)
		w.patch("/v2/blocks/"+b, `{"size_gb":20}`).is(204)
		w.pass(time.Hour)
		if got := disks.guestSize(b); got != 10<<30 {
			w.Errorf("the guest sees %d bytes without a new attach", got)
		}
		w.detach(b).is(204)
		w.pass(5 * time.Second)
		w.attach(b, id).is(204)
		w.pass(5 * time.Second)
		if got := disks.guestSize(b); got != 20<<30 {
			w.Errorf("the guest sees %d bytes after a new attach", got)
		}
	})
}

// An instance that is destroyed while a volume is on its way to it leaves the volume free.
func TestInstanceDestroyedDuringAttach(t *testing.T) {
	disks := newMemoryDisks()
	bubble(t, simulator.Config{Disks: disks}, func(w *world) {
		id, b := w.server(simulator.NewServer{Label: "i"}), w.nvme()
		w.attach(b, id).is(204)
		w.delete("/v2/instances/" + id).is(204)
		w.pass(10 * time.Second)
		w.block(b).has("block.attached_to_instance", "")
		w.attach(b, w.server(simulator.NewServer{Label: "j"})).is(204)
	})
}
