package simulator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// listCase is one list of the API, with what makes its items.
type listCase struct {
	name string // of the list in the answer; the path's last word when empty
	path string
	// add makes one more item; n differs each time. Without it the list always has the same items.
	add func(w *world, n int)
	// lags lists miss a new item for a while.
	lags bool
}

func posting(path, body string) func(w *world, n int) {
	return func(w *world, n int) {
		w.Helper()
		if r := w.post(path, strings.ReplaceAll(body, "#", fmt.Sprint(n))); r.status/100 != 2 {
			w.Fatalf("%s: %d %s", r.what, r.status, r.raw)
		}
	}
}

// listCases are the lists of the account. Paths may name {instance}, {group}, {vpc} and {domain}, which the test makes.
var listCases = []listCase{
	{name: "instances", path: "/v2/instances", lags: true, add: posting("/v2/instances", `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136,"label":"#"}`)},
	{name: "bare_metals", path: "/v2/bare-metals", lags: true, add: posting("/v2/bare-metals", `{"region":"ewr","plan":"vbm-4c-32gb","os_id":2136}`)},
	{name: "vpcs", path: "/v2/vpcs", lags: true, add: func(w *world, n int) {
		posting("/v2/vpcs", `{"region":"`+[]string{"lax", "ams", "fra"}[n%3]+`"}`)(w, n) // five in each
	}},
	{name: "attachments", path: "/v2/vpcs/{vpc}/attachments", add: func(w *world, _ int) {
		w.member(w.made["vpc"], "")
	}},
	{name: "firewall_groups", path: "/v2/firewalls", lags: true, add: posting("/v2/firewalls", `{"description":"#"}`)},
	{name: "firewall_rules", path: "/v2/firewalls/{group}/rules", lags: true, add: posting("/v2/firewalls/{group}/rules", `{"ip_type":"v4","protocol":"tcp","port":"1#","subnet":"0.0.0.0","subnet_size":0}`)},
	{name: "reserved_ips", path: "/v2/reserved-ips", lags: true, add: posting("/v2/reserved-ips", `{"region":"ewr","ip_type":"v4"}`)},
	{name: "ssh_keys", path: "/v2/ssh-keys", lags: true, add: posting("/v2/ssh-keys", `{"name":"#","ssh_key":"`+aKey+`"}`)},
	{name: "startup_scripts", path: "/v2/startup-scripts", lags: true, add: posting("/v2/startup-scripts", `{"name":"#","script":"aGk="}`)},
	{name: "domains", path: "/v2/domains", lags: true, add: posting("/v2/domains", `{"domain":"d#.example.com"}`)},
	{name: "records", path: "/v2/domains/{domain}/records", lags: true, add: posting("/v2/domains/{domain}/records", `{"type":"TXT","data":"#"}`)},
	{name: "vke_clusters", path: "/v2/kubernetes/clusters", lags: true, add: posting("/v2/kubernetes/clusters", aCluster)},
	{name: "ipv4s", path: "/v2/instances/{instance}/ipv4", lags: true, add: posting("/v2/instances/{instance}/ipv4", `{"reboot":false}`)},
	{name: "ipv6s", path: "/v2/instances/{instance}/ipv6"},
	{name: "vpcs", path: "/v2/instances/{instance}/vpcs"},
	{name: "regions", path: "/v2/regions"},
	{name: "plans", path: "/v2/plans"},
	{name: "plans_metal", path: "/v2/plans-metal"},
	{name: "os", path: "/v2/os"},
	{name: "applications", path: "/v2/applications"},
}

// makeParents makes what the paths of lists name.
func (w *world) makeParents() {
	w.Helper()
	w.made = map[string]string{
		"instance": w.server(simulator.NewServer{Label: "parent"}), "group": w.group(), "vpc": w.vpc(),
		"domain": w.post("/v2/domains", `{"domain":"parent.example.com"}`).is(201).text("domain.domain"),
	}
	w.pass(time.Minute)
}

// walk follows the cursors of a list in one direction and returns the items of all pages, and the total.
func (w *world) walk(lc listCase, perPage int) (items []string, total float64) {
	w.Helper()
	cursor := ""
	for {
		r := w.get(fmt.Sprintf("%s?per_page=%d&cursor=%s", lc.path, perPage, cursor)).is(200)
		page := r.items(lc.name)
		if len(page) > perPage {
			w.Errorf("%s: a page of %d has %d items", lc.path, perPage, len(page))
		}
		for _, item := range page {
			items = append(items, fmt.Sprint(item))
		}
		total, _ = r.at("meta.total").(float64)
		if cursor = r.text("meta.links.next"); cursor == "" {
			return items, total
		}
	}
}

// Every list is cut into pages, counts all its items, and gives each of them once.
func TestListsInPages(t *testing.T) {
	for _, lc := range listCases {
		t.Run(strings.Trim(lc.path, "/"), func(t *testing.T) {
			bubble(t, simulator.Config{}, func(w *world) {
				w.makeParents()
				before, _ := w.walk(lc, 500)
				added := 0
				for lc.add != nil && added < 5 {
					lc.add(w, added)
					added++
				}
				if late := w.getNow(lc.path + "?per_page=500").is(200).items(lc.name); lc.lags && len(late) != len(before) {
					t.Errorf("new items are listed at once: %d, then %d", len(before), len(late))
				}
				w.pass(10 * time.Minute)
				all, total := w.walk(lc, 500)
				if len(all) != len(before)+added || total != float64(len(all)) {
					t.Errorf("%d items, total %v; %d were made after %d", len(all), total, added, len(before))
				}
				small, total := w.walk(lc, 2)
				if !slices.Equal(small, all) || total != float64(len(all)) {
					t.Errorf("in pages of two: %v (total %v)\nat once: %v", small, total, all)
				}
				w.get(lc.path+"?per_page=0").refusedSaying(400, "per_page")
				w.get(lc.path+"?cursor=!").refusedSaying(400, "cursor")
			})
		})
	}
}

// What goes away between two pages makes nothing else appear twice or not at all, in lists inside of something too.
func TestListsThatShrinkBetweenPages(t *testing.T) {
	for _, lc := range []listCase{
		{name: "firewall_rules", path: "/v2/firewalls/{group}/rules", add: posting("/v2/firewalls/{group}/rules", `{"ip_type":"v4","protocol":"tcp","port":"1#","subnet":"0.0.0.0","subnet_size":0}`)},
		{name: "records", path: "/v2/domains/{domain}/records", add: posting("/v2/domains/{domain}/records", `{"type":"TXT","data":"#"}`)},
		{name: "worker_nodes", path: "/v2/kubernetes/clusters/{cluster}/node-pools/{pool}/nodes", add: func(w *world, n int) {
			w.patch("/v2/kubernetes/clusters/{cluster}/node-pools/{pool}", fmt.Sprintf(`{"node_quantity":%d}`, 3+n)).is(202)
		}},
	} {
		t.Run(lc.name, func(t *testing.T) {
			bubble(t, simulator.Config{}, func(w *world) {
				w.makeParents()
				r := w.post("/v2/kubernetes/clusters", aCluster).is(201)
				w.made["cluster"] = r.text("vke_cluster.id")
				w.made["pool"], _ = r.field("vke_cluster.node_pools", 0, "id").(string)
				for n := range 5 {
					lc.add(w, n)
				}
				w.pass(time.Minute)
				id := func(item any) string { m, _ := item.(map[string]any); return fmt.Sprint(m["id"]) }
				var want, got []string
				for _, item := range w.get(lc.path).is(200).items(lc.name) {
					want = append(want, id(item))
				}
				for cursor := "-"; cursor != ""; {
					r := w.get(lc.path + "?per_page=2&cursor=" + strings.Trim(cursor, "-")).is(200)
					for _, item := range r.items(lc.name) {
						got = append(got, id(item))
						w.delete(lc.path + "/" + id(item)) // the last node of a pool stays
					}
					cursor = r.text("meta.links.next")
				}
				if !slices.Equal(got, want) {
					t.Errorf("%v came in pages, %v at once", got, want)
				}
			})
		})
	}
}

// A record that is added after a restart is the last of its list.
func TestRecordsKeepTheirOrder(t *testing.T) {
	const path = "/v2/domains/example.com/records"
	add := func(w *world, data string) {
		w.Helper()
		w.post(path, `{"type":"TXT","data":"`+data+`"}`).is(201).has("record.seq", missing)
	}
	worlds(t, simulator.Config{}, func(w *world) {
		w.post("/v2/domains", `{"domain":"example.com"}`).is(201)
		for n := range 5 {
			add(w, fmt.Sprint(n))
		}
	}, func(w *world) {
		add(w, "last")
		r := w.get(path+"?per_page=7").is(200).has("meta.total", 8).hasField("records", 6, "data", "4")
		w.get(path+"?cursor="+r.text("meta.links.next")).is(200).hasField("records", 0, "data", "last")
	})
}

// Filters are only where the platform has them, and combine.
func TestFilters(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		g := w.group()
		a := w.server(simulator.NewServer{Label: "a", Hostname: "host-a", Tags: []string{"Web"}, MainIP: "198.18.7.1"})
		w.server(simulator.NewServer{Label: "a", Hostname: "host-b", Region: "lax", MainIP: "198.18.7.2"})
		w.server(simulator.NewServer{Label: "c", Hostname: "host-c", Tags: []string{"web", "db"}})
		w.patch("/v2/instances/"+a, `{"firewall_group_id":"`+g+`"}`).is(202)
		for query, want := range map[string]int{
			"label=a": 2, "label=A": 0, "label=": 3, "tag=WEB": 2, "tag=we": 0, "tag=db": 1, "main_ip=198.18.7.2": 1, "main_ip=198.18": 0,
			"region=ewr": 2, "region=EWR": 0, "hostname=host-b": 1, "hostname=host": 0, "firewall_group_id=" + g: 1,
			"label=a&region=ewr": 1, "label=c&tag=Web": 1, "label=a&tag=db": 0, "unknown=x": 3,
		} {
			w.get("/v2/instances?"+query).is(200).has("meta.total", want)
		}
		w.vpc()
		w.pass(time.Second)
		w.get("/v2/vpcs?region=lax&description=none").is(200).has("meta.total", 1)
		w.get("/v2/firewalls?description=none").is(200).has("meta.total", 1)
		w.get("/v2/plans?type=vhf").is(200).hasField("plans", 0, "type", "vhf")
		w.get("/v2/plans?type=none").is(200).has("meta.total", 0)
		all, some := w.get("/v2/regions/ewr/availability").is(200), w.get("/v2/regions/ewr/availability?type=vc2").is(200)
		if len(all.items("available_plans")) <= len(some.items("available_plans")) || len(some.items("available_plans")) == 0 {
			t.Errorf("%v, of one type %v", all.raw, some.raw)
		}
		w.get("/v2/regions/moon/availability").refused(400, "Invalid region.")
		w.get("/v2/regions/ewr/availability?type=x").refusedSaying(400, "Please provide a valid type: ")
	})
}
