package simulator_test

import (
	"fmt"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// servers adds n instances.
func (w *world) servers(n int) {
	w.Helper()
	for i := range n {
		w.server(simulator.NewServer{Label: fmt.Sprint("worker-", i)})
	}
}

// labels returns the labels of a list of instances.
func (r reply) labels() []string {
	r.w.Helper()
	var out []string
	for _, i := range r.is(200).items("instances") {
		m, _ := i.(map[string]any)
		out = append(out, fmt.Sprint(m["label"]))
	}
	return out
}

var listTraits = []trait{
	{name: "11-page-size", test: func(w *world) {
		w.servers(510)
		for query, want := range map[string]int{"": 100, "?per_page=7": 7, "?per_page=500": 500, "?per_page=1000": 500} {
			if got := len(w.get("/v2/instances" + query).labels()); got != want {
				w.Errorf("%q gave %d instances, want %d", query, got, want)
			}
		}
		for _, bad := range []string{"0", "-1", "ten"} {
			w.get("/v2/instances?per_page="+bad).refusedSaying(400, "per_page")
		}
	}},
	{name: "11-opaque-cursor", test: func(w *world) {
		w.servers(25)
		var forward, back []string
		path := "/v2/instances?per_page=10"
		r := w.get(path).has("meta.links.prev", "")
		for {
			forward = append(forward, r.labels()...)
			next := r.text("meta.links.next")
			if next == "" {
				break
			}
			if strings.Contains(next, "/") || strings.Contains(next, ":") {
				w.Fatalf("the cursor %q looks like a URL", next)
			}
			r = w.get(path + "&cursor=" + next)
		}
		for {
			back = append(r.labels(), back...)
			prev := r.text("meta.links.prev")
			if prev == "" {
				break
			}
			r = w.get(path + "&cursor=" + prev)
		}
		var want []string
		for i := range 25 {
			want = append(want, fmt.Sprint("worker-", i))
		}
		if fmt.Sprint(forward) != fmt.Sprint(want) || fmt.Sprint(back) != fmt.Sprint(want) {
			w.Errorf("forward %v, back %v", forward, back)
		}
		w.get(path+"&cursor=!").refusedSaying(400, "cursor")
	}},
	{name: "11-total", test: func(w *world) {
		w.servers(25)
		w.get("/v2/instances?per_page=10").is(200).has("meta.total", 25)
		w.get("/v2/instances?label=worker-3").is(200).has("meta.total", 1)
	}},
	{name: "11-label-filter", test: func(w *world) {
		w.servers(12)
		for query, want := range map[string]int{"worker-1": 1, "worker": 0, "Worker-1": 0, "worker-11": 1} {
			if got := len(w.get("/v2/instances?label=" + query).labels()); got != want {
				w.Errorf("label=%s gave %d instances, want %d", query, got, want)
			}
		}
		w.nvme()
		w.get("/v2/blocks?label=nothing-of-the-kind").is(200).has("meta.total", 1)
	}},
	{name: "11-tag-filter", test: func(w *world) {
		w.server(simulator.NewServer{Label: "a", Tags: []string{"Web", "blue"}})
		w.server(simulator.NewServer{Label: "b", Tags: []string{"website"}})
		for query, want := range map[string]int{"Web": 1, "web": 1, "WEB": 1, "blue": 1, "website": 1, "we": 0} {
			if got := len(w.get("/v2/instances?tag=" + query).labels()); got != want {
				w.Errorf("tag=%s gave %d instances, want %d", query, got, want)
			}
		}
	}},
}
