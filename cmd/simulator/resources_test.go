package main

import (
	"net/http"
	"slices"
)

// resource is one kind of objects that a busy client makes, changes and destroys.
type resource struct {
	path string // of the list
	list string // name of the list in its answer
	one  string // name of the object in its answer; "" = not wrapped
	// name is a field of free text, and change the method that changes it.
	name, change string
	// create returns the body that makes one; false when the client has not what it takes.
	create func(c *busyClient) (map[string]any, bool)
	// others are further things to do with an object, each answered with success or refused without effect.
	others []operation
	// lateGone objects can be seen for a while after they were destroyed.
	lateGone bool
}

// operation is a request about an object, and the field that it changes.
type operation struct {
	// method is POST when it is "", and the one that changes the object itself when there is no path either.
	method string
	path   string // below the object's, "" for a change of the object itself
	field  string
	// server is of requests whose path and field end with a server's ID.
	server bool
	// late fields show what was asked for only when everything has settled.
	late bool
	// request returns the body and the field's value once it was accepted.
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
			{path: "/attach", field: attachedTo, late: true, request: attach},
			{path: "/attach", field: attachedTo, late: true, request: attach}, // what is attached can be written to
			{path: "/detach", field: attachedTo, late: true, request: func(c *busyClient) (map[string]any, any) {
				return map[string]any{"live": c.random.IntN(3) > 0}, ""
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
		path: fileSystems, list: "vfs", name: "label", change: http.MethodPut,
		create: always(map[string]any{"region": "ewr", "storage_size": map[string]int{"gb": 10}}),
		others: []operation{
			{field: "storage_size", request: func(c *busyClient) (map[string]any, any) {
				gb := 10 + c.random.IntN(30)
				return map[string]any{"storage_size": map[string]any{"gb": gb}}, map[string]any{"gb": float64(gb), "bytes": float64(gb << 30)}
			}},
			{path: attachments, field: attachments, method: http.MethodPut, server: true, late: true, request: becomes(true)},
			{path: attachments, field: attachments, method: http.MethodDelete, server: true, late: true, request: becomes(nil)},
			{path: attachments, field: attachments, method: http.MethodDelete, server: true, late: true, request: becomes(nil)}, // what is attached cannot be destroyed
		},
	},
	{
		path: "/v2/load-balancers", list: "load_balancers", one: "load_balancer", name: "label", change: http.MethodPatch,
		create: func(c *busyClient) (map[string]any, bool) {
			return map[string]any{"region": "ewr", "instances": c.servers, "forwarding_rules": []map[string]any{
				{"frontend_protocol": "tcp", "frontend_port": 8080, "backend_protocol": "tcp", "backend_port": 30080},
			}}, true
		},
		others: []operation{{field: "instances", request: func(c *busyClient) (map[string]any, any) {
			some := slices.Sorted(slices.Values(c.servers[:c.random.IntN(len(c.servers)+1)]))
			shown := []any{}
			for _, id := range some {
				shown = append(shown, id)
			}
			return map[string]any{"instances": shown}, shown
		}}},
	},
	{
		path: instances, list: "instances", one: "instance", name: "label", change: http.MethodPatch, lateGone: true,
		create: always(map[string]any{"region": "ewr", "plan": "vc2-1c-1gb", "os_id": 2136}),
		others: []operation{
			{path: "/halt", field: "power_status", late: true, request: becomes("stopped")},
			{path: "/start", field: "power_status", late: true, request: becomes("running")},
			{path: "/reboot", field: "power_status", late: true, request: becomes("running")},
		},
	},
	{path: "/v2/vpcs", list: "vpcs", one: "vpc", name: "description", change: http.MethodPut, create: always(map[string]any{"region": "ewr"})},
	{path: "/v2/firewalls", list: "firewall_groups", one: "firewall_group", name: "description", change: http.MethodPut, create: always(nil)},
	{path: "/v2/reserved-ips", list: "reserved_ips", one: "reserved_ip", name: "label", change: http.MethodPatch, create: always(map[string]any{"region": "ewr", "ip_type": "v4"}), others: []operation{
		{path: "/attach", field: "instance_id", request: func(c *busyClient) (map[string]any, any) {
			at := c.servers[c.random.IntN(len(c.servers))]
			return map[string]any{"instance_id": at}, at
		}},
		{path: "/detach", field: "instance_id", request: becomes("")},
	}},
	{path: "/v2/bare-metals", list: "bare_metals", one: "bare_metal", name: "label", change: http.MethodPatch, create: always(map[string]any{"region": "ewr", "plan": "vbm-4c-32gb", "os_id": 2136})},
	{path: "/v2/ssh-keys", list: "ssh_keys", one: "ssh_key", name: "name", change: http.MethodPatch, create: always(map[string]any{"ssh_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0"})},
	{path: "/v2/startup-scripts", list: "startup_scripts", one: "startup_script", name: "name", change: http.MethodPatch, create: always(map[string]any{"type": "boot", "script": "aGk="})},
}

const (
	instances   = "/v2/instances"
	fileSystems = "/v2/vfs"
	// attachedTo is the field of a volume that names its instance.
	attachedTo = "attached_to_instance"
	// attachments and an instance's ID are a field that the ledger makes up: true for a file system that is attached.
	attachments = "/attachments/"
)

func always(body map[string]any) func(*busyClient) (map[string]any, bool) {
	return func(*busyClient) (map[string]any, bool) { return body, true }
}

func attach(c *busyClient) (map[string]any, any) {
	at := c.server()
	return map[string]any{"instance_id": at, "live": c.random.IntN(3) > 0}, at
}

// becomes is a request without a body.
func becomes(value any) func(*busyClient) (map[string]any, any) {
	return func(*busyClient) (map[string]any, any) { return nil, value }
}
