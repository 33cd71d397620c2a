package soak

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/controller"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/router"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/vfsstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const region = "ewr"

// process is a controller: what cmd/csi runs, without its sockets.
type process struct {
	*controller.Service

	name string
	link *link
	// ctx ends when the process is killed, lead when it loses the lead: its sidecars give up their calls then.
	ctx     context.Context //nolint:containedctx // the process's life
	stop    context.CancelFunc
	lead    context.Context //nolint:containedctx // its time as the leader
	endLead context.CancelFunc
}

// lease is for how long a leader's lease lasts: the lead is never given to another one sooner after the last time.
const lease = 20 * time.Second

// forTwins is how long after a create a controller looks for what was made beside the volume. One that is killed before does
// not; its successor reports what it finds, and deletes it only when the other one is published.
const forTwins = 5 * time.Minute

// controllers are the two processes, of which one leads.
type controllers struct {
	all     [2]*process
	leader  int
	since   time.Time // when the lead was given last
	started int
}

// start makes the process of a place.
func (w *world) start(place int) {
	c := &w.controllers
	c.started++
	name := string(rune('A'+place)) + "." + string(rune('0'+c.started%10))
	// A successor can undo and do again what a late order was about.
	l := newLink(w.cloud.Dial, w.setup.attach+w.setup.detach-time.Second)
	api, err := vultr.New(vultr.Config{BaseURL: w.cloud.URL, Key: w.cloud.Key, StartRate: 10, MaxRate: 20, DialContext: l.Dial})
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{name: name, link: l}
	p.ctx, p.stop = context.WithCancel(klog.NewContext(w.t.Context(), klog.Background().WithName(name)))
	acc := account.New(api, func(context.Context) ([]string, error) { return []string{w.home}, nil })
	options := blockstore.Options{Account: acc}
	disks := blockstore.New(api, options)
	options.Beside = disks
	p.Service = controller.New(router.New([]volume.Backend{disks, vfsstore.New(api, options)}),
		func(context.Context) (string, error) { return region, nil }, nobody{})
	w.background.Go(func() { _ = disks.Run(p.ctx) }) // until it is killed
	c.all[place] = p
}

// nobody is told nothing.
type nobody struct{}

// Warn does nothing.
func (nobody) Warn(context.Context, events.Claim, string, string) {}

// elect gives the lead to the process of a place. Calls of the one before are given up, by those who asked.
func (w *world) elect(place int) {
	c := &w.controllers
	if c.leader != place || c.since.IsZero() {
		c.leader, c.since = place, time.Now()
	}
	p := c.all[place]
	p.lead, p.endLead = context.WithCancel(p.ctx)
	for _, o := range w.pending() {
		if o.at == nil { // of the controller
			o.current = nil
		}
	}
	w.note("%s leads", p.name)
}

func (w *world) leading() *process { return w.controllers.all[w.controllers.leader] }

// mayLose reports whether the leader can lose the lead.
func (w *world) mayLose() bool { return !w.setup.alone && time.Since(w.controllers.since) >= lease }

// failover makes the other one lead.
func (w *world) failover() {
	if !w.mayLose() {
		return
	}
	w.leading().endLead()
	w.unfreeze() // the other one may stand still
	w.elect(1 - w.controllers.leader)
}

// freezeLeader stops the one that leads, wherever it is, and the other one takes over.
func (w *world) freezeLeader() {
	if !w.mayLose() {
		return
	}
	w.unfreeze()
	w.leading().link.freeze()
	w.note("%s stands still", w.leading().name)
	w.elect(1 - w.controllers.leader)
}

// unfreeze lets the one that stands still go on. Its sidecars see at once that they have lost the lead, and give up their
// calls: what it was about to send goes out, but nothing more.
func (w *world) unfreeze() {
	for place, p := range w.controllers.all {
		p.link.mu.Lock()
		frozen := p.link.frozen != nil
		p.link.mu.Unlock()
		if frozen {
			w.note("%s goes on", p.name)
			p.link.thaw()
			if place != w.controllers.leader {
				time.AfterFunc(5*time.Millisecond, p.endLead)
			}
		}
	}
}

// killController ends a process at once and starts it again, without its memory.
func (w *world) killController(place int) {
	p := w.controllers.all[place]
	w.note("%s is killed", p.name)
	for _, v := range w.volumes {
		if v.id == "" || time.Since(v.told) < forTwins {
			w.unwatched[v.name] = true
		}
	}
	p.link.kill()
	p.stop()
	w.start(place)
	if place == w.controllers.leader {
		next := place
		if w.mayLose() {
			next = 1 - place
		}
		if next != place {
			w.unfreeze()
		}
		w.elect(next)
	}
}
