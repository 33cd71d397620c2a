package soak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	maxVolumes   = 6
	maxSnapshots = 4
)

// do takes one step.
func (w *world) do(s step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken.rule != "" {
		return
	}
	switch s.do {
	case act:
		w.act(s)
	case snapshot:
		w.actOnSnapshot(s)
	case read:
		w.readSomething(s)
	case misuse:
		w.misuse(s)
	case write:
		w.writeSomething(s)
	case fault:
		w.addFault(s)
	case lag:
		w.setLags(s)
	case failover:
		w.failover()
	case freeze:
		w.freezeLeader()
	case thaw:
		w.unfreeze()
	case kill:
		if !w.setup.alone {
			w.killController(s.a % 2)
		}
	case destroy:
		w.destroy(w.node(s.a))
	case restart:
		w.restartPlugin(w.node(s.a))
	case pass:
		w.unlocked(func() { time.Sleep(time.Duration(s.a%180) * time.Second) }) // of the fake clock
	}
}

// act goes on with a volume, or begins something new.
func (w *world) act(s step) {
	i := s.a % (len(w.volumes) + 1)
	if last := slices.Index(w.volumes, w.last); last >= 0 && s.a/len(actionNames)%3 > 0 {
		i = last // so that things happen to a volume one soon after another
	}
	for range w.volumes {
		if i < len(w.volumes) && w.volumes[i].op != nil && w.volumes[i].op.current != nil {
			i = (i + 1) % (len(w.volumes) + 1) // it is waited for
		}
	}
	if i == len(w.volumes) {
		if len(w.volumes) < maxVolumes {
			w.begin(w.newVolume(s.b, s.c), s.c)
			w.last = w.volumes[i]
		}
		return
	}
	v := w.volumes[i]
	w.last = v
	if v.op != nil {
		if undo := w.undo(v); undo != nil && s.b%2 == 0 {
			v.op = undo
			w.count["given up"]++
		}
		w.try(v.op, s.c)
		return
	}
	if all := w.choices(v, s.c); len(all) > 0 {
		v.op = all[s.b%len(all)]()
		w.begin(v.op, s.c)
	}
}

// undo takes back what has no answer yet, as when the pod is deleted meanwhile. It is nil while somebody is asked, and for
// what cannot be taken back.
func (w *world) undo(v *vol) *op {
	if v.op.current != nil {
		return nil
	}
	switch v.op.name {
	case "publish":
		return w.unpublish(v, v.op.use)
	case "stage":
		return w.unstage(v, v.op.use)
	case "node publish":
		return w.nodeUnpublish(v, v.op.use)
	case "unpublish":
		if !v.op.use.node.dead {
			v.op.use.attached = false // until it is told again
			return w.publish(v, v.op.use)
		}
	}
	return nil
}

// actOnSnapshot is the same for snapshots.
func (w *world) actOnSnapshot(s step) {
	i := s.a % (len(w.snapshots) + 1)
	if i < len(w.snapshots) {
		sn := w.snapshots[i]
		if sn.op == nil && sn.using == 0 {
			sn.op = w.deleteSnapshot(sn)
			w.begin(sn.op, s.c)
		} else if sn.op != nil {
			w.try(sn.op, s.c)
		}
		return
	}
	sources := slices.DeleteFunc(slices.Clone(w.volumes), func(v *vol) bool {
		return v.id == "" || v.shared || v.op != nil && v.op.name == "delete"
	})
	if len(sources) > 0 && len(w.snapshots) < maxSnapshots {
		w.begin(w.newSnapshot(sources[s.b%len(sources)]), s.c)
	}
}

func (w *world) begin(o *op, patience int) {
	w.count[o.name]++
	w.try(o, patience)
}

// try asks once, with a deadline that a number chooses: most calls have time, some are cut off.
func (w *world) try(o *op, patience int) {
	short := time.Duration(patience%8000) * time.Millisecond
	w.attempt(o, []time.Duration{2 * time.Minute, 2 * time.Minute, 15 * time.Second, short, short}[patience%5])
}

func (w *world) attempt(o *op, deadline time.Duration) {
	if o.current != nil {
		return
	}
	o.tries++
	a := &attempt{op: o}
	o.current = a
	parent, on := w.leading().lead, asked{controller: w.leading()}
	who := w.leading().name
	if o.at != nil {
		parent, on.node = o.at.ctx, o.at.plugin
		who = fmt.Sprint("node ", o.at.place)
	}
	w.note("%s asks %s for the %s of %s", a.id(), who, o.name, o.subject())
	ctx, cancel := context.WithTimeout(parent, deadline)
	w.calls.Go(func() {
		if o.at != nil {
			defer w.machines.hold()()
		}
		done, err := o.call(ctx, on)
		canceled := parent.Err() != nil
		cancel()
		w.locked(func() { w.answered(a, done, err, canceled) })
	})
}

func (a *attempt) id() string { return fmt.Sprintf("%p", a)[6:] }

func (o *op) subject() string {
	switch {
	case o.use != nil:
		return fmt.Sprintf("%s (%.8s) at %.8s", o.vol.name[:12], o.vol.id, o.use.node.id)
	case o.vol != nil:
		return fmt.Sprintf("%s (%.8s)", o.vol.name[:12], o.vol.id)
	}
	return "a snapshot"
}

// answered judges an answer, and believes it if it is for those who still ask.
func (w *world) answered(a *attempt, done func(), err error, canceled bool) {
	o := a.op
	w.note("%s: %v", a.id(), err)
	if overtaken := o.current != a; !o.mayAnswer(err, canceled, overtaken) {
		w.fail("a wrong code", "%s of %s: %v", o.name, o.subject(), err)
	}
	if o.current != a {
		return
	}
	o.current = nil
	if err == nil && w.isPending(o) {
		w.over(o)
		done()
	}
}

func (w *world) isPending(o *op) bool { return slices.Contains(w.pending(), o) }

// over ends an operation.
func (w *world) over(o *op) {
	for _, v := range w.volumes {
		if v.op == o {
			v.op = nil
		}
	}
	for _, s := range w.snapshots {
		if s.op == o {
			s.op = nil
		}
	}
}

// patient are the codes that ask for patience, which is right at any time: CSI has the caller repeat the call.
var patient = []codes.Code{codes.OK, codes.Unavailable, codes.Aborted, codes.DeadlineExceeded}

// mayAnswer reports whether CSI allows the answer to the operation. One that was overtaken finds what the next leader has
// made of the volume.
func (o *op) mayAnswer(err error, canceled, overtaken bool) bool {
	if _, is := errors.AsType[notReadyError](err); is {
		return true
	}
	code := status.Code(err)
	switch {
	case slices.Contains(patient, code), slices.Contains(o.codes, code):
		return true
	case code == codes.Canceled:
		return canceled
	case overtaken, o.use != nil && o.use.node.dead:
		return code == codes.NotFound || code == codes.FailedPrecondition // the node is gone, or about to be
	}
	return false
}

// addFault has some calls go wrong.
func (w *world) addFault(s step) {
	operations := []string{
		"create_block", "attach_block", "detach_block", "delete_block", "update_block", "list_blocks", "get_block",
		"create_block_snapshot", "delete_block_snapshot", "list_block_snapshots", "get_block_snapshot",
		"create_vfs", "delete_vfs", "update_vfs", "list_vfs", "get_vfs", "attach_vfs", "detach_vfs", "list_vfs_attachments",
		"get_instance", "list_instances", "",
	}
	f := simulator.Fault{Operation: operations[s.a%len(operations)], Nth: 1 + s.c%2, Times: 1 + s.c/2%3}
	statuses := []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable}
	switch s.b % 11 {
	case 0:
		f.Action = simulator.FaultResetBefore
	case 1, 2:
		f.Action = simulator.FaultResetAfter
	case 3:
		f.Action, f.Status = simulator.FaultStatus, statuses[s.c%3]
	case 4:
		f.Action, f.Status, f.RetryAfter = simulator.FaultStatus, http.StatusTooManyRequests, s.c%4
	case 5:
		f.Action, f.Status = simulator.FaultStatusAfter, http.StatusGatewayTimeout
	case 6:
		f.Action = simulator.FaultHangAfter
	case 7:
		f.Action, f.LatencyMS = simulator.FaultLatency, 1+s.c%9000
	case 8:
		f.Action = simulator.FaultDuplicate
	case 9:
		f.Action = simulator.FaultTruncate
	case 10:
		f.Action, f.Status = simulator.FaultStatus, http.StatusBadRequest
		f.Operation = []string{"attach_block", "detach_block", "attach_vfs", "detach_vfs"}[s.a%4]
		f.Body, f.Times = `{"error":"Server is currently locked","status":400}`, 1+s.c%20
	}
	w.cloud.Fault(f)
	w.note("fault: %s %s %d, from %d, %d times", f.Operation, f.Action, f.Status, f.Nth, f.Times)
}

// writeSomething writes to a volume that a pod has.
func (w *world) writeSomething(s step) {
	var all []func()
	for _, v := range w.volumes {
		for _, u := range v.uses {
			if u.published && v.op == nil {
				all = append(all, func() {
					w.texts++
					text := fmt.Sprintf("text %d", w.texts)
					if err := w.machines.write(v, u, text); err != nil {
						w.fail("a write failed", "volume %s (%s) at %s: %v", v.id, v.name, u.node.id, err)
						return
					}
					v.data.versions = append(v.data.versions, version{text, time.Now()})
					w.note("%s has %q", v.name, text)
				})
			}
		}
	}
	if len(all) > 0 {
		all[s.a%len(all)]()
	}
}

// verify compares what is on a volume with what was written.
func (w *world) verify(v *vol, u *use) {
	text, err := w.machines.read(v, u)
	if known := append(slices.Clone(v.data.any), v.data.last()); err != nil || !v.data.may(text) {
		w.fail("data is lost", "volume %s (%s) has %q, %v, not one of %q", v.id, v.name, text, err, known)
	}
}
