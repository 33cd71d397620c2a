package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// resource is one kind of objects that a busy client makes, changes and destroys.
type resource struct {
	path string // of the list
	list string // name of the list in its answer
	one  string // name of the object in its answer; "" = not wrapped
	// name is a field of free text, and change the method that changes it.
	name, change string
	// create gives the body that makes one; false when the client has not what it takes.
	create func(c *busyClient) (map[string]any, bool)
	// others are further things to do with an object, each answered with success or refused without effect.
	others []operation
	// lateGone objects can be seen for a while after they were destroyed.
	lateGone bool
}

// operation is a request about an object, and the field that it changes.
type operation struct {
	path  string // below the object's, "" for a change of the object itself
	field string
	// method and server are of requests to a path that ends with a server's ID. No field of the object shows them.
	method string
	server bool
	// late fields show what was asked for only when everything has settled.
	late bool
	// request gives the body and the field's value once it was accepted.
	request func(c *busyClient) (body map[string]any, value any)
}

// resources is what the busy clients use. A new kind of object gets a line here.
var resources = []*resource{
	{
		path: "/v2/blocks", list: "blocks", one: "block", name: "label", change: http.MethodPatch,
		create: func(c *busyClient) (map[string]any, bool) {
			body := map[string]any{"region": "ewr", "size_gb": 10, "block_type": "high_perf"}
			if of := c.any("/v2/blocks/snapshots"); of != "" && c.random.IntN(3) == 0 {
				body["snapshot_id"] = of
			}
			return body, true
		},
		others: []operation{
			{field: "size_gb", request: func(c *busyClient) (map[string]any, any) {
				size := 10 + c.random.IntN(30)
				return map[string]any{"size_gb": size}, float64(size)
			}},
			{path: "/attach", field: "attached_to_instance", late: true, request: func(c *busyClient) (map[string]any, any) {
				at := c.servers[c.random.IntN(len(c.servers))]
				return map[string]any{"instance_id": at, "live": true}, at
			}},
			{path: "/detach", field: "attached_to_instance", late: true, request: func(*busyClient) (map[string]any, any) {
				return map[string]any{"live": true}, ""
			}},
		},
	},
	{
		path: "/v2/blocks/snapshots", list: "snapshots", name: "description", change: http.MethodPut,
		create: func(c *busyClient) (map[string]any, bool) {
			of := c.any("/v2/blocks")
			return map[string]any{"block_id": of}, of != ""
		},
	},
	{
		path: "/v2/vfs", list: "vfs", name: "label", change: http.MethodPut,
		create: always(map[string]any{"region": "ewr", "storage_size": map[string]int{"gb": 10}}),
		others: []operation{
			{path: "/attachments/", method: http.MethodPut, server: true},
			{path: "/attachments/", method: http.MethodDelete, server: true},
			{path: "/attachments/", method: http.MethodDelete, server: true}, // what is attached cannot be destroyed
		},
	},
	{
		path: "/v2/load-balancers", list: "load_balancers", one: "load_balancer", name: "label", change: http.MethodPatch,
		create: func(c *busyClient) (map[string]any, bool) {
			return map[string]any{"region": "ewr", "instances": c.servers, "forwarding_rules": []map[string]any{
				{"frontend_protocol": "tcp", "frontend_port": 8080, "backend_protocol": "tcp", "backend_port": 30080},
			}}, true
		},
	},
	{
		path: "/v2/instances", list: "instances", one: "instance", name: "label", change: http.MethodPatch, lateGone: true,
		create: always(map[string]any{"region": "ewr", "plan": "vc2-1c-1gb", "os_id": 2136}),
	},
	{path: "/v2/vpcs", list: "vpcs", one: "vpc", name: "description", change: http.MethodPut, create: always(map[string]any{"region": "ewr"})},
	{path: "/v2/firewalls", list: "firewall_groups", one: "firewall_group", name: "description", change: http.MethodPut, create: always(nil)},
	{path: "/v2/reserved-ips", list: "reserved_ips", one: "reserved_ip", name: "label", change: http.MethodPatch, create: always(map[string]any{"region": "ewr", "ip_type": "v4"}), others: []operation{
		{path: "/attach", field: "instance_id", request: func(c *busyClient) (map[string]any, any) {
			at := c.servers[c.random.IntN(len(c.servers))]
			return map[string]any{"instance_id": at}, at
		}},
		{path: "/detach", field: "instance_id", request: func(*busyClient) (map[string]any, any) { return nil, "" }},
	}},
	{path: "/v2/bare-metals", list: "bare_metals", one: "bare_metal", name: "label", change: http.MethodPatch, create: always(map[string]any{"region": "ewr", "plan": "vbm-4c-32gb", "os_id": 2136})},
	{path: "/v2/ssh-keys", list: "ssh_keys", one: "ssh_key", name: "name", change: http.MethodPatch, create: always(map[string]any{"ssh_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0"})},
	{path: "/v2/startup-scripts", list: "startup_scripts", one: "startup_script", name: "name", change: http.MethodPatch, create: always(map[string]any{"type": "boot", "script": "aGk="})},
}

func always(body map[string]any) func(*busyClient) (map[string]any, bool) {
	return func(*busyClient) (map[string]any, bool) { return body, true }
}

// object is what a client may say of one that it made: what it was told, and what may have happened unseen.
type object struct {
	kind *resource
	id   string
	// gone: it was told that it is destroyed. doubtful: it asked for that and got no answer.
	gone, doubtful bool
	// allowed are the values of each field that what it was told leaves open.
	allowed map[string][]any
}

// busyClient makes and destroys objects of its own. It is never in doubt of what others did.
type busyClient struct {
	random  *rand.Rand
	api     string
	http    *http.Client
	servers []string // instances that stay
	objects []*object
	answers *atomic.Int64 // how many all clients got
}

func (c *busyClient) any(path string) string {
	for _, o := range c.objects {
		if o.kind.path == path && !o.gone && !o.doubtful {
			return o.id
		}
	}
	return ""
}

// ask sends a request. No answer is an error; a refusal is none, and changed nothing.
func (c *busyClient) ask(method, path string, body any) (accepted bool, answer map[string]any, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return false, nil, err
	}
	request, err := http.NewRequest(method, c.api+path, bytes.NewReader(text))
	if err != nil {
		return false, nil, err
	}
	request.Header.Set("Authorization", "Bearer test")
	response, err := c.http.Do(request)
	if err != nil {
		return false, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return false, nil, err
	}
	if response.StatusCode >= 500 {
		return false, nil, fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, raw)
	}
	c.answers.Add(1)
	if len(raw) > 0 {
		err = json.Unmarshal(raw, &answer)
	}
	return response.StatusCode < 300, answer, err
}

// work goes on until there is no answer.
func (c *busyClient) work() {
	for {
		var err error
		kind := resources[c.random.IntN(len(resources))]
		mine := slices.DeleteFunc(slices.Clone(c.objects), func(o *object) bool { return o.kind != kind || o.gone || o.doubtful })
		switch n := c.random.IntN(10); {
		case len(mine) == 0 || (n < 3 && len(mine) < 4):
			err = c.make(kind)
		case n < 5:
			err = c.destroy(mine[c.random.IntN(len(mine))])
		default:
			err = c.alter(mine[c.random.IntN(len(mine))])
		}
		if err != nil {
			return
		}
	}
}

func (c *busyClient) make(kind *resource) error {
	body, ok := kind.create(c)
	if !ok {
		return nil
	}
	name := fmt.Sprintf("n%d", c.random.IntN(1000))
	wanted := map[string]any{kind.name: name}
	maps.Copy(wanted, body)
	accepted, answer, err := c.ask(http.MethodPost, kind.path, wanted)
	if err != nil || !accepted {
		return err // whether it was made is learned from the next list
	}
	if kind.one != "" {
		answer, _ = answer[kind.one].(map[string]any)
	}
	id, ok := answer["id"].(string)
	if !ok {
		return fmt.Errorf("%s: no ID in %v", kind.path, answer)
	}
	c.objects = append(c.objects, &object{kind: kind, id: id, allowed: map[string][]any{kind.name: {name}}})
	return nil
}

func (c *busyClient) destroy(o *object) error {
	o.doubtful = true
	accepted, _, err := c.ask(http.MethodDelete, o.kind.path+"/"+o.id, nil)
	if err == nil {
		o.gone, o.doubtful = accepted, false
	}
	return err
}

func (c *busyClient) alter(o *object) error {
	n := c.random.IntN(len(o.kind.others) + 1)
	op := operation{field: o.kind.name, request: func(c *busyClient) (map[string]any, any) {
		name := fmt.Sprintf("n%d", c.random.IntN(1000))
		return map[string]any{o.kind.name: name}, name
	}}
	if n > 0 {
		op = o.kind.others[n-1]
	}
	if op.server {
		_, _, err := c.ask(op.method, o.kind.path+"/"+o.id+op.path+c.servers[c.random.IntN(len(c.servers))], nil)
		return err
	}
	body, value := op.request(c)
	method := http.MethodPost
	if op.path == "" {
		method = o.kind.change
	}
	before := o.allowed[op.field]
	if before == nil {
		before = []any{c.initial(o, op.field)}
	}
	o.allowed[op.field] = append(slices.Clone(before), value) // until there is an answer
	accepted, _, err := c.ask(method, o.kind.path+"/"+o.id+op.path, body)
	switch {
	case err != nil:
	case accepted:
		o.allowed[op.field] = []any{value}
	default:
		o.allowed[op.field] = before
	}
	return err
}

// initial is a field of an object that nothing was asked of yet.
func (c *busyClient) initial(o *object, field string) any {
	if body, ok := o.kind.create(c); ok {
		if n, ok := body[field].(int); ok {
			return float64(n)
		}
	}
	return ""
}

// compare demands that everything is as the client was told, and forgets what it was in doubt of: it has seen it now.
// Fields that settle late are compared when everything has.
func (c *busyClient) compare(t *testing.T, there map[string]map[string]any, settled bool) {
	t.Helper()
	kept := c.objects[:0]
	for _, o := range c.objects {
		now, exists := there[o.kind.path+"/"+o.id]
		switch {
		case exists && (o.gone || o.doubtful) && o.kind.lateGone && !settled:
			kept = append(kept, o) // it may be on its way out
		case exists && o.gone:
			t.Errorf("%s/%s is back, though it was destroyed", o.kind.path, o.id)
		case exists:
			o.compare(t, now, settled)
			o.doubtful = false
			kept = append(kept, o)
		case !o.gone && !o.doubtful:
			t.Errorf("%s/%s is lost, though it was made", o.kind.path, o.id)
		}
	}
	c.objects = kept
}

func (o *object) compare(t *testing.T, now map[string]any, settled bool) {
	t.Helper()
	late := map[string]bool{}
	for _, op := range o.kind.others {
		late[op.field] = op.late
	}
	for field, values := range o.allowed {
		if late[field] && !settled {
			continue
		}
		if !slices.Contains(values, now[field]) {
			t.Errorf("%s/%s: %s is %v, acknowledged was %v", o.kind.path, o.id, field, now[field], values)
		}
		o.allowed[field] = []any{now[field]}
	}
}

// everything lists all objects of all kinds by path and ID.
func (c *busyClient) everything(t *testing.T) map[string]map[string]any {
	t.Helper()
	there := map[string]map[string]any{}
	for _, kind := range resources {
		for cursor := "?per_page=500"; cursor != ""; {
			_, answer, err := c.ask(http.MethodGet, kind.path+cursor, nil)
			if err != nil {
				t.Fatal(err)
			}
			items, ok := answer[kind.list].([]any)
			if !ok {
				t.Fatalf("%s: %v", kind.path, answer)
			}
			for _, item := range items {
				fields := item.(map[string]any)
				there[kind.path+"/"+fields["id"].(string)] = fields
			}
			cursor = ""
			if meta, ok := answer["meta"].(map[string]any); ok {
				if next, ok := meta["links"].(map[string]any)["next"].(string); ok && next != "" {
					cursor = "?per_page=500&cursor=" + next
				}
			}
		}
	}
	return there
}

// sweep destroys what is there and nobody's: made by a request without an answer. It keeps the cloud small.
func (c *busyClient) sweep(there map[string]map[string]any, known map[string]bool) {
	for path := range there {
		if !known[path] {
			_, _, _ = c.ask(http.MethodDelete, path, nil) // the next time, if it is refused
		}
	}
}

func newBusyClient(seed, stream uint64, servers []string, answers *atomic.Int64) *busyClient {
	return &busyClient{
		random: rand.New(rand.NewPCG(seed, stream)), servers: servers, answers: answers,
		http: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
	}
}

// moved points the client to the next life of the program.
func (c *busyClient) moved(api string) {
	c.http.CloseIdleConnections()
	c.api = strings.TrimSuffix(api, "/v2")
}

// pause waits for a random time below the bound.
func pause(random *rand.Rand, below time.Duration) {
	time.Sleep(time.Duration(random.Int64N(int64(below)))) // how much work is cut off is left to chance
}
