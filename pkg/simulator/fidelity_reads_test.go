package simulator_test

import (
	"strings"
	"time"
)

// laggard is one kind of objects with how it is made, changed, deleted and read.
type laggard struct {
	kind, path, list string
	make, change     string // bodies
	id, read         string // where the answers have its ID and what is changed
	before, after    string // what is read there before and after the change
	put              bool   // changed by PUT instead of PATCH
}

var laggards = []laggard{
	{
		kind: "blocks", path: "/v2/blocks", list: "blocks", make: `{"region":"ewr","size_gb":10,"label":"old"}`,
		change: `{"label":"new"}`, id: "block.id", read: "block.label", before: "old", after: "new",
	},
	{
		kind: "block_snapshots", path: "/v2/blocks/snapshots", list: "snapshots", make: `{"block_id":"{block}","description":"old"}`,
		change: `{"description":"new"}`, id: "id", read: "description", before: "old", after: "new", put: true,
	},
	{
		kind: "vfs", path: "/v2/vfs", list: "vfs", make: `{"region":"ewr","label":"old","storage_size":{"gb":10},"disk_type":"nvme"}`,
		change: `{"label":"new"}`, id: "id", read: "label", before: "old", after: "new", put: true,
	},
	{
		kind: "instances", path: "/v2/instances", list: "instances", make: `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136,"label":"old"}`,
		change: `{"label":"new"}`, id: "instance.id", read: "instance.label", before: "old", after: "new",
	},
	{
		kind: "bare_metals", path: "/v2/bare-metals", list: "bare_metals", make: `{"region":"ewr","plan":"vbm-4c-32gb","os_id":2136,"label":"old"}`,
		change: `{"label":"new"}`, id: "bare_metal.id", read: "bare_metal.label", before: "old", after: "new",
	},
	{
		kind: "load_balancers", path: "/v2/load-balancers", list: "load_balancers",
		make:   `{"region":"ewr","label":"old","forwarding_rules":[{"frontend_protocol":"tcp","frontend_port":80,"backend_protocol":"tcp","backend_port":80}]}`,
		change: `{"label":"new"}`, id: "load_balancer.id", read: "load_balancer.label", before: "old", after: "new",
	},
	{
		kind: "vpcs", path: "/v2/vpcs", list: "vpcs", make: `{"region":"ewr","description":"old"}`,
		change: `{"description":"new"}`, id: "vpc.id", read: "vpc.description", before: "old", after: "new", put: true,
	},
	{
		kind: "firewall_groups", path: "/v2/firewalls", list: "firewall_groups", make: `{"description":"old"}`,
		change: `{"description":"new"}`, id: "firewall_group.id", read: "firewall_group.description", before: "old", after: "new", put: true,
	},
	{
		kind: "reserved_ips", path: "/v2/reserved-ips", list: "reserved_ips", make: `{"region":"ewr","ip_type":"v4","label":"old"}`,
		change: `{"label":"new"}`, id: "reserved_ip.id", read: "reserved_ip.label", before: "old", after: "new",
	},
	{
		kind: "ssh_keys", path: "/v2/ssh-keys", list: "ssh_keys", make: `{"name":"old","ssh_key":"` + aKey + `"}`,
		change: `{"name":"new"}`, id: "ssh_key.id", read: "ssh_key.name", before: "old", after: "new",
	},
	{
		kind: "startup_scripts", path: "/v2/startup-scripts", list: "startup_scripts", make: `{"name":"old","script":"aGk="}`,
		change: `{"name":"new"}`, id: "startup_script.id", read: "startup_script.name", before: "old", after: "new",
	},
	{
		kind: "domains", path: "/v2/domains", list: "domains", make: `{"domain":"example.com"}`,
		change: `{"dns_sec":"enabled"}`, id: "domain.domain", read: "domain.dns_sec", before: "disabled", after: "enabled", put: true,
	},
	{
		kind: "clusters", path: "/v2/kubernetes/clusters", list: "vke_clusters", make: strings.Replace(aCluster, `"label":"k"`, `"label":"old"`, 1),
		change: `{"label":"new"}`, id: "vke_cluster.id", read: "vke_cluster.label", before: "old", after: "new", put: true,
	},
}

// made makes an object and returns its ID.
func (l laggard) made(w *world) string {
	w.Helper()
	body := l.make
	if strings.Contains(body, "{block}") {
		body = strings.ReplaceAll(body, "{block}", w.nvme())
	}
	return w.post(l.path, body).text(l.id)
}

// changed changes an object.
func (l laggard) changed(w *world, id string) {
	w.Helper()
	method := "PATCH"
	if l.put {
		method = "PUT"
	}
	if r := w.do(method, l.path+"/"+id, l.change); r.status/100 != 2 {
		w.Fatalf("%s: %d %s", r.what, r.status, r.raw)
	}
}

// got returns what GET shows of an object: its field that changes, "" if the object is not there.
func (l laggard) got(w *world, id string) string {
	w.Helper()
	r := w.getNow(l.path + "/" + id)
	if r.status == 404 {
		return ""
	}
	return r.is(200).text(l.read)
}

// listed returns what the list shows of it.
func (l laggard) listed(w *world, id string) string {
	w.Helper()
	last := func(path string) string { return path[strings.LastIndex(path, ".")+1:] }
	for _, item := range w.getNow(l.path).is(200).items(l.list) {
		if m, _ := item.(map[string]any); m[last(l.id)] == id {
			text, _ := m[last(l.read)].(string)
			return text
		}
	}
	return ""
}

// expect demands what GET and the list show.
func (l laggard) expect(w *world, when, id, get, list string) {
	w.Helper()
	if gotGet, gotList := l.got(w, id), l.listed(w, id); gotGet != get || gotList != list {
		w.Errorf("%s, %s: GET shows %q and the list %q, want %q and %q", l.kind, when, gotGet, gotList, get, list)
	}
}

// live takes an object through its life. Its GETs are 2 s behind, its lists 5 s.
func (l laggard) live(w *world) {
	w.Helper()
	id := l.made(w)
	l.expect(w, "just made", id, "", "")
	w.pass(2*time.Second - 1)
	l.expect(w, "made almost 2 s ago", id, "", "")
	w.pass(1)
	l.expect(w, "made 2 s ago", id, l.before, "")
	w.pass(3 * time.Second)
	l.expect(w, "made 5 s ago", id, l.before, l.before)
	w.pass(10 * time.Minute)
	l.changed(w, id)
	l.expect(w, "just changed", id, l.before, l.before)
	w.pass(2 * time.Second)
	l.expect(w, "changed 2 s ago", id, l.after, l.before)
	w.pass(3 * time.Second)
	l.expect(w, "changed 5 s ago", id, l.after, l.after)
	w.delete(l.path + "/" + id).is(204)
	l.expect(w, "just deleted", id, l.after, l.after)
	w.delete(l.path + "/" + id).is(404) // a write knows the truth
	w.pass(2 * time.Second)
	l.expect(w, "deleted 2 s ago", id, "", l.after)
	w.pass(3 * time.Second)
	l.expect(w, "deleted 5 s ago", id, "", "")
}

// late demands that a read is one second behind, unless a cloud is told otherwise.
func (l laggard) late(w *world, seen func(l laggard, w *world, id string) string) {
	w.Helper()
	expect := func(when, id, want string) {
		w.Helper()
		if got := seen(l, w, id); got != want {
			w.Errorf("%s, %s: %q is read, want %q", l.kind, when, got, want)
		}
	}
	id := l.made(w)
	for _, step := range []struct {
		what         string
		do           func()
		before, then string
	}{
		{"made", func() {}, "", l.before},
		{"changed", func() { l.changed(w, id) }, l.before, l.after},
		{"deleted", func() { w.delete(l.path + "/" + id).is(204) }, l.after, ""},
	} {
		step.do()
		expect("just "+step.what, id, step.before)
		w.pass(time.Second - 1)
		expect(step.what+" almost 1 s ago", id, step.before)
		w.pass(1)
		expect(step.what+" 1 s ago", id, step.then)
		w.pass(10 * time.Minute)
	}
}

// lateTraits are that GETs and lists of all kinds lag.
func lateTraits() []trait {
	var all []trait
	for _, l := range laggards {
		all = append(all,
			trait{name: "20-late-" + l.kind + ".get", test: func(w *world) { l.late(w, laggard.got) }},
			trait{name: "20-late-" + l.kind + ".list", test: func(w *world) { l.late(w, laggard.listed) }})
	}
	return all
}
