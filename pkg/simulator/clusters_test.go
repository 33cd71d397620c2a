package simulator_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const aCluster = `{"label":"k","region":"ewr","version":"v1.35.2+1","enable_firewall":true,
	"node_pools":[{"label":"Workers","plan":"vc2-2c-4gb","node_quantity":2,"tag":"pool","labels":{"a":"b"}}]}`

func TestKubernetesEngine(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		r := w.post("/v2/kubernetes/clusters", aCluster).is(201).has("vke_cluster.status", "pending").has("vke_cluster.version", "v1.35.2+1")
		id := r.text("vke_cluster.id")
		path := "/v2/kubernetes/clusters/" + id
		r.has("vke_cluster.endpoint", id+".vultr-k8s.com").hasField("vke_cluster.node_pools", 0, "status", "pending")
		w.pass(3*time.Minute + w.lag)
		r = w.get(path).is(200).has("vke_cluster.status", "active")
		r.hasField("vke_cluster.node_pools", 0, "node_quantity", 2).hasField("vke_cluster.node_pools", 0, "status", "active").
			hasField("vke_cluster.node_pools", 0, "labels.a", "b")
		pool, _ := r.field("vke_cluster.node_pools", 0, "id").(string)
		pools := path + "/node-pools"
		nodes := pools + "/" + pool + "/nodes"

		// A node is an instance of the account, in the cluster's VPC, and its user data name it.
		r = w.get(nodes).is(200).has("meta.total", 2).hasField("worker_nodes", 0, "status", "active").hasField("worker_nodes", 0, "private_ip", "10.1.0.3")
		node, _ := r.field("worker_nodes", 0, "id").(string)
		label, _ := r.field("worker_nodes", 0, "label").(string)
		w.get("/v2/instances?label="+label).is(200).has("meta.total", 1).hasField("instances", 0, "id", node)
		if !strings.HasPrefix(label, "workers-") {
			t.Errorf("a node is called %q", label)
		}
		data, err := base64.StdEncoding.DecodeString(w.get("/v2/instances/" + node + "/user-data").text("user_data.data"))
		if err != nil || !strings.Contains(string(data), `"node_id":"`+node+`"`) {
			t.Errorf("user data of a node: %s %v", data, err)
		}
		group := w.get(path).text("vke_cluster.firewall_group_id")
		w.instance(node).has("instance.firewall_group_id", group)

		b := w.nvme()
		w.attach(b, node).is(204)
		w.pass(5 * time.Second)
		lb := w.newBalancer(`{"region":"ewr","instances":["` + node + `"]}`)
		w.get(path+"/resources").is(200).hasField("resources.block_storage", 0, "id", b).hasField("resources.load_balancer", 0, "id", lb)

		w.patch(pools+"/"+pool, `{"node_quantity":3,"max_nodes":5,"auto_scaler":true}`).is(202).has("node_pool.node_quantity", 3).has("node_pool.max_nodes", 5)
		w.post(nodes+"/"+node+"/recycle", "").is(204)
		w.pass(3 * time.Minute)
		w.get("/v2/instances/" + node).is(404)
		r = w.get(nodes).has("meta.total", 3)
		other, _ := r.field("worker_nodes", 0, "id").(string)
		w.delete(nodes + "/" + other).is(204)
		w.delete("/v2/instances/" + r.field("worker_nodes", 1, "id").(string)).is(204) // behind the cluster's back
		w.get(nodes).has("meta.total", 1)
		w.delete(nodes+"/"+nobody).refused(404, "Invalid node ID")
		w.delete(pools + "/" + pool).is(400)
		second := w.post(pools, `{"label":"p2","plan":"vc2-1c-2gb","node_quantity":1}`).is(201).text("node_pool.id")
		w.get(pools).has("meta.total", 2)
		w.delete(pools + "/" + second).is(204)
		w.get(pools+"/"+second).refused(404, "Invalid NodePool ID")

		w.get(path+"/available-upgrades").has("available_upgrades", []any{"v1.36.1+1"})
		w.post(path+"/upgrades", `{"upgrade_version":"v1.34.5+1"}`).is(400)
		w.post(path+"/upgrades", `{"upgrade_version":"v1.36.1+1"}`).is(204)
		w.do("PUT", path, `{"label":"renamed"}`).is(204)
		w.pass(3*time.Minute + w.lag)
		w.get(path).has("vke_cluster.version", "v1.36.1+1").has("vke_cluster.label", "renamed")
		config, err := base64.StdEncoding.DecodeString(w.get(path + "/config").is(200).text("kube_config"))
		if err != nil || !strings.Contains(string(config), "server: https://"+id+".vultr-k8s.com:6443") {
			t.Errorf("kubeconfig %s %v", config, err)
		}
		w.delete(path).is(204)
		w.pass(time.Second)
		w.get(path).refused(404, "Invalid resource ID")
		w.get("/v2/instances").has("meta.total", 0)
		w.get("/v2/blocks").has("meta.total", 1)
		w.get("/v2/firewalls/" + group).is(404)
	})
}

func TestNodesWithoutPublicAddress(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		r := w.post("/v2/kubernetes/clusters", strings.Replace(aCluster, `"tag"`, `"vpc_only":true,"tag"`, 1)).is(201)
		path := "/v2/kubernetes/clusters/" + r.text("vke_cluster.id")
		w.pass(3 * time.Minute)
		r = w.get(path).is(200).hasField("vke_cluster.node_pools", 0, "status", "active")
		pool, _ := r.field("vke_cluster.node_pools", 0, "id").(string)
		w.get(path+"/node-pools/"+pool+"/nodes").hasField("worker_nodes", 0, "status", "active").hasField("worker_nodes", 0, "ip", "0.0.0.0").
			hasField("worker_nodes", 0, "private_ip", "10.1.0.3")
	})
}

// The firewall group of a cluster goes with it, also for others that have it.
func TestFirewallGroupOfCluster(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		r := w.post("/v2/kubernetes/clusters", aCluster).is(201)
		other := w.server(simulator.NewServer{Label: "other"})
		w.patch("/v2/instances/"+other, `{"firewall_group_id":"`+r.text("vke_cluster.firewall_group_id")+`"}`).is(202)
		w.delete("/v2/kubernetes/clusters/" + r.text("vke_cluster.id")).is(204)
		w.instance(other).has("instance.firewall_group_id", "")
	})
}

func TestLabelsAndTaintsOfNodePools(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		r := w.post("/v2/kubernetes/clusters", aCluster).is(201)
		pool, _ := r.field("vke_cluster.node_pools", 0, "id").(string)
		path := "/v2/kubernetes/clusters/" + r.text("vke_cluster.id") + "/node-pools/" + pool
		r = w.get(path+"/labels").is(200).hasField("labels", 0, "key", "a").hasField("labels", 0, "value", "b")
		first, _ := r.field("labels", 0, "id").(string)
		w.get(path+"/labels/"+first).is(200).has("label.key", "a")
		id := w.post(path+"/labels", `{"key":"tier","value":"web"}`).is(201).has("label.value", "web").text("label.id")
		w.get(path).has("node_pool.labels.tier", "web").has("node_pool.labels.a", "b")
		w.delete(path + "/labels/" + id).is(204)
		w.get(path+"/labels/"+id).refused(404, "Invalid label ID")
		w.delete(path + "/labels/" + id).is(404)
		w.post(path+"/labels", `{}`).is(400)

		w.get(path+"/taints").is(200).has("taints", []any{})
		id = w.post(path+"/taints", `{"key":"only","value":"db","effect":"NoSchedule"}`).is(201).has("taint.key", "only").text("taint.id")
		w.post(path+"/taints", `{"key":"only","value":"cache","effect":"NoSchedule"}`).is(201).has("taint.id", id)
		w.get(path+"/taints/"+id).is(200).has("taint.value", "cache").has("taint.effect", "NoSchedule")
		w.get(path).hasField("node_pool.taints", 0, "value", "cache")
		w.delete(path + "/taints/" + id).is(204)
		w.get(path+"/taints/"+id).refused(404, "Invalid taint ID")
		w.delete(path + "/taints/" + id).is(404)
		w.post(path+"/taints", `{"key":"only","effect":"Never"}`).is(400)
	})
}

func TestDeleteClusterWithResources(t *testing.T) {
	bubble(t, simulator.Config{Disks: newMemoryDisks()}, func(w *world) {
		r := w.post("/v2/kubernetes/clusters", aCluster).is(201)
		path := "/v2/kubernetes/clusters/" + r.text("vke_cluster.id")
		w.pass(3 * time.Minute)
		node, _ := w.get(path).field("vke_cluster.node_pools", 0, "nodes").([]any)[0].(map[string]any)["id"].(string)
		mine, free := w.nvme(), w.nvme()
		w.attach(mine, node).is(204)
		w.pass(5 * time.Second)
		lb := w.newBalancer(`{"region":"ewr","instances":["` + node + `"]}`)
		other := w.newBalancer(`{"region":"ewr"}`)
		w.delete(path + "/delete-with-linked-resources").is(204)
		w.get(path).is(404)
		w.pass(time.Minute)
		w.get("/v2/blocks/" + mine).is(404)
		w.block(free)
		w.get("/v2/load-balancers/" + lb).is(404)
		w.balancer(other)
		w.get("/v2/instances").has("meta.total", 0)
		if left := w.sim.View().Transitions; len(left) != 0 {
			t.Errorf("left: %+v", left)
		}
	})
}

func TestKubernetesEngineRefuses(t *testing.T) {
	bubble(t, simulator.Config{MaxInstances: 1}, func(w *world) {
		if len(w.get("/v2/kubernetes/versions").is(200).items("versions")) < 2 {
			t.Error("no versions to upgrade to")
		}
		for _, change := range [][2]string{
			{"ewr", "moon"},
			{"v1.35.2+1", "v0.1"},
			{"vc2-2c-4gb", "none"},
			{`"node_quantity":2`, `"node_quantity":0`},
			{`"node_quantity":2`, `"node_quantity":101`},
			{`"Workers"`, `""`},
			{`"label":"k"`, `"vpc_id":"` + nobody + `"`},
			{`"label":"k"`, `"label":"k"`}, // more nodes than the account may have
		} {
			w.post("/v2/kubernetes/clusters", strings.Replace(aCluster, change[0], change[1], 1)).is(400)
		}
		w.post("/v2/kubernetes/clusters", `{"label":"k","region":"ewr","version":"v1.35.2+1"}`).is(400)
		w.pass(time.Minute)
		// What is refused leaves nothing: no node, no VPC, no firewall group.
		for _, path := range []string{"instances", "vpcs", "firewalls", "kubernetes/clusters"} {
			w.get("/v2/"+path).is(200).has("meta.total", 0)
		}
		for _, path := range []string{"", "/config", "/resources", "/available-upgrades", "/node-pools", "/node-pools/" + nobody} {
			w.get("/v2/kubernetes/clusters/"+nobody+path).refused(404, "Invalid resource ID")
		}
	})
}
