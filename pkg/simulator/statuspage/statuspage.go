// Package statuspage shows a simulated cloud to the person who runs it, as one plain HTML page: instances with their
// disks, load balancers with their backends, what is under way and the last requests.
package statuspage

import (
	"bytes"
	"context"
	_ "embed" // the page's template and script
	"html/template"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/guard"
)

const (
	// lastRequests is how many requests the page shows.
	lastRequests = 50
	// refresh is after how many seconds a browser without scripts asks again.
	refresh = 3
	// maxRows bounds each table: a browser shows more only slowly, and /state has them all.
	maxRows = 500
	// calm is the least time between two events of one browser, and heartbeat the most: what a health check finds, and
	// that time goes by, changes nothing that is stored.
	calm      = 300 * time.Millisecond
	heartbeat = 5 * time.Second
	// patience is how long a browser may take for one event.
	patience = 30 * time.Second
)

// Cloud is what the page needs to know; simulator.Simulator knows it.
type Cloud interface {
	View() simulator.View
	Requests(n int) []simulator.Request
	Counters() map[string]simulator.Counter
	// Changed returns a channel that is closed at the next change of any of these.
	Changed() <-chan struct{}
}

//go:embed page.html
var pageText string

//go:embed live.js
var script []byte

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"clock": func(t time.Time) string { return t.Format("15:04:05.000") },
	"round": func(d time.Duration) string { return d.Round(time.Millisecond / 10).String() },
	"head":  func(rows any) any { v := reflect.ValueOf(rows); return v.Slice(0, min(v.Len(), maxRows)).Interface() },
	"rest":  func(rows any) int { return max(0, reflect.ValueOf(rows).Len()-maxRows) },
}).Parse(pageText))

// Page serves the page and what keeps it up to date. New makes one.
type Page struct {
	cloud  Cloud
	mux    *http.ServeMux
	closed chan struct{}
	once   sync.Once
}

// Paths are what a Page serves.
var Paths = []string{"GET /{$}", "GET /live.js", "GET /events"}

// New makes a page of the cloud.
func New(cloud Cloud) *Page {
	p := &Page{cloud: cloud, mux: http.NewServeMux(), closed: make(chan struct{})}
	for i, handle := range []http.HandlerFunc{p.whole, p.script, p.events} {
		p.mux.HandleFunc(Paths[i], handle)
	}
	return p
}

// ServeHTTP answers what is in Paths.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

// Close ends the answers that have no end of their own, for good.
func (p *Page) Close() { p.once.Do(func() { close(p.closed) }) }

func (p *Page) whole(w http.ResponseWriter, r *http.Request) {
	text, err := p.render("page")
	if err != nil {
		klog.FromContext(r.Context()).Error(err, "Writing the status page")
		http.Error(w, "the status page cannot be written", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	// What names of objects contain is shown, never run.
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'")
	_, _ = w.Write(text) // a browser that is gone
}

func (p *Page) script(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(script) // a browser that is gone
}

// events tells a browser of every change, as server-sent events, until either is gone.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	guard.LimitBody(w)() // an answer without end
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	pulse := time.NewTimer(0)
	defer pulse.Stop()
	for {
		changed := p.cloud.Changed()
		text, err := p.render("cloud")
		if err != nil {
			klog.FromContext(r.Context()).Error(err, "Writing an event of the status page")
			return
		}
		_ = control.SetWriteDeadline(time.Now().Add(patience)) // a test's recorder has none
		if _, err := w.Write(event(text)); err != nil || control.Flush() != nil {
			return // the browser is gone
		}
		pulse.Reset(calm)
		if !p.wait(r.Context(), pulse.C, nil) {
			return
		}
		pulse.Reset(heartbeat - calm)
		if !p.wait(r.Context(), pulse.C, changed) {
			return
		}
	}
}

// wait ends with one of the channels; false when the browser or the page is gone.
func (p *Page) wait(ctx context.Context, timer <-chan time.Time, changed <-chan struct{}) bool {
	select {
	case <-timer:
	case <-changed:
	case <-ctx.Done():
		return false
	case <-p.closed:
		return false
	}
	return true
}

// event is a text in the form of server-sent events.
func event(text []byte) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			out.WriteString("data: ")
			out.Write(line)
			out.WriteByte('\n')
		}
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func (p *Page) render(name string) ([]byte, error) {
	var text bytes.Buffer
	err := page.ExecuteTemplate(&text, name, contentOf(p.cloud, time.Now()))
	return text.Bytes(), err
}

// content is what the template shows.
type content struct {
	Refresh       int
	Now           time.Time
	View          simulator.View
	Instances     []instanceRow
	Detached      []simulator.BlockView
	LoadBalancers []balancerRow
	Transitions   []transitionRow
	Counters      []counterRow
	Requests      []simulator.Request // newest first
}

type instanceRow struct {
	simulator.InstanceView
	Disks []simulator.BlockView
}

type balancerRow struct {
	simulator.LoadBalancerView
	Healthy int
}

type transitionRow struct {
	simulator.TransitionView
	In time.Duration
}

type counterRow struct {
	Operation string
	simulator.Counter
}

// contentOf arranges the cloud for reading: disks under the instance that has them, or still holds them.
func contentOf(cloud Cloud, now time.Time) content {
	c := content{Refresh: refresh, Now: now, View: cloud.View(), Requests: cloud.Requests(lastRequests)}
	slices.Reverse(c.Requests)
	disks := map[string][]simulator.BlockView{}
	for _, block := range c.View.Blocks {
		if at := placeOf(block); at != "" {
			disks[at] = append(disks[at], block)
		} else {
			c.Detached = append(c.Detached, block)
		}
	}
	for _, instance := range c.View.Instances {
		c.Instances = append(c.Instances, instanceRow{instance, disks[instance.ID]})
		delete(disks, instance.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(disks)) { // attached to what is gone
		c.Detached = append(c.Detached, disks[id]...)
	}
	for _, balancer := range c.View.LoadBalancers {
		row := balancerRow{LoadBalancerView: balancer}
		for _, backend := range balancer.Backends {
			if backend.Healthy {
				row.Healthy++
			}
		}
		c.LoadBalancers = append(c.LoadBalancers, row)
	}
	for _, transition := range c.View.Transitions {
		c.Transitions = append(c.Transitions, transitionRow{transition, transition.Due.Sub(now)})
	}
	counters := cloud.Counters()
	for _, operation := range slices.Sorted(maps.Keys(counters)) {
		c.Counters = append(c.Counters, counterRow{operation, counters[operation]})
	}
	return c
}

func placeOf(block simulator.BlockView) string {
	if block.AttachedTo != "" {
		return block.AttachedTo
	}
	return block.PendingInstance
}
