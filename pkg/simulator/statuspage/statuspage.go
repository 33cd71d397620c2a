// Package statuspage shows a simulated cloud to the person who runs it, as one plain HTML page: instances with their
// disks, load balancers with their backends, what is under way and the last requests.
package statuspage

import (
	"bytes"
	_ "embed" // the page's template
	"html/template"
	"maps"
	"net/http"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	// lastRequests is how many requests the page shows.
	lastRequests = 50
	// refresh is after how many seconds a browser asks again.
	refresh = 3
)

// Cloud is what the page needs to know; simulator.Simulator knows it.
type Cloud interface {
	View() simulator.View
	Requests(n int) []simulator.Request
	Counters() map[string]simulator.Counter
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"clock": func(t time.Time) string { return t.Format("15:04:05.000") },
	"round": func(d time.Duration) string { return d.Round(time.Millisecond / 10).String() },
}).Parse(pageText))

// New serves the page.
func New(cloud Cloud) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var text bytes.Buffer
		if err := page.Execute(&text, contentOf(cloud, time.Now())); err != nil {
			klog.FromContext(r.Context()).Error(err, "Writing the status page")
			http.Error(w, "the status page cannot be written", http.StatusInternalServerError)
			return
		}
		header := w.Header()
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Cache-Control", "no-store")
		// What names of objects contain is shown, never run.
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_, _ = w.Write(text.Bytes()) // a browser that is gone
	})
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
