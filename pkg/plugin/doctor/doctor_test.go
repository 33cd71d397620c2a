package doctor_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/outofservice"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/api"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/balancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/doctor"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	machine = "0b000000-0000-4000-8000-000000000001"
	another = "0b000000-0000-4000-8000-000000000002"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func node(name, providerID string, taints ...string) *v1.Node {
	n := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(now.Add(-time.Hour)), Labels: map[string]string{v1.LabelTopologyRegion: "ewr"}},
		Spec:       v1.NodeSpec{ProviderID: providerID},
	}
	for _, taint := range taints {
		n.Spec.Taints = append(n.Spec.Taints, v1.Taint{Key: taint})
	}
	return n
}

func csiNode(name, id string) *storagev1.CSINode {
	return &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{Name: "block.csi.vultr.com", NodeID: id}}}}
}

func workload(kind, name string, containers ...string) kube.Workload {
	w := kube.Workload{Kind: kind, Name: name, Wanted: 2, Ready: 2}
	for _, c := range containers {
		container, image, _ := strings.Cut(c, "=")
		w.Containers = append(w.Containers, v1.Container{Name: container, Image: image})
	}
	return w
}

// healthy is a cluster in which everything is in order.
func healthy() doctor.Input {
	controller := workload("Deployment", kube.CSIController, "csi-controller=r.example.com:5000/csi-controller:v1.2.0", "csi-provisioner=x/csi-provisioner:v6.4.0",
		"csi-attacher=x/csi-attacher:v4.13.0", "csi-resizer=x/csi-resizer:v3.0.0")
	controller.Containers[0].Args = []string{"--cluster-id", "prod"}
	in := doctor.Input{
		Keys:   []doctor.Key{{Source: "Secret kube-system/vultr-ccm", Uses: doctor.Uses{CCM: true}, Rights: []string{"loadbalancer"}, Reads: map[string]error{"instances": nil}}},
		Rights: []doctor.Right{{Allowed: true}}, Version: "v1.2.0", Now: now,
	}
	in.Nodes.Value = []*v1.Node{node("a", "vultr://"+machine)}
	in.CSINodes.Value = []*storagev1.CSINode{csiNode("a", machine)}
	in.Instances.Value = []vultr.Instance{{ID: machine, Region: "ewr", Kind: vultr.KindVM}}
	in.Workloads.Value = []kube.Workload{
		workload("Deployment", kube.CCM, "vultr-ccm=x/ccm:v1.2.0"), controller, workload("DaemonSet", kube.CSINode, "csi-node=x/csi-node:v1.2.0"),
	}
	in.Balancers.Value = []balancers.Balancer{{State: balancers.Serving, Service: "shop/web"}}
	return in
}

func TestHealthy(t *testing.T) {
	for _, f := range doctor.Examine(healthy()) {
		if f.Severity != report.OK {
			t.Errorf("%+v", f)
		}
	}
}

func apiError(status int, message string) error {
	return &vultr.Error{Op: "read", Status: status, Message: message}
}

func TestFindings(t *testing.T) {
	key := func(change func(*doctor.Key)) func(*doctor.Input) {
		return func(in *doctor.Input) { change(&in.Keys[0]) }
	}
	nodes := func(all ...*v1.Node) func(*doctor.Input) {
		return func(in *doctor.Input) { in.Nodes.Value = all }
	}
	container := func(i int, container, image string) func(*doctor.Input) {
		return func(in *doctor.Input) { in.Workloads.Value[i].Container(container).Image = image }
	}
	// What nothing is there of, and what uses nothing of it, is left out.
	noSecret := fmt.Errorf("reading: %w", apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "x"))
	noManager := func(in *doctor.Input) { in.Workloads.Value, in.Keys[0].Err = in.Workloads.Value[1:], noSecret }
	noDriver := func(in *doctor.Input) { in.Workloads.Value = in.Workloads.Value[:1] }
	but := func(change, more func(*doctor.Input)) func(*doctor.Input) {
		return func(in *doctor.Input) { change(in); more(in) }
	}
	pinned := func(i int, name string) func(*doctor.Input) { return container(i, name, "x/"+name+"@sha256:0123") }
	tests := map[string]struct {
		change func(*doctor.Input)
		want   string // severity, check and a part of the problem of the one finding that is not ok
	}{
		"no Secret": {key(func(k *doctor.Key) {
			k.Err = fmt.Errorf("reading: %w", apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "vultr-ccm"))
		}), "error api-key there is no API key"},
		"no key in the Secret": {key(func(k *doctor.Key) { k.Err = fmt.Errorf("Secret: %w", kube.ErrNoKey) }), "error api-key there is no API key"},
		"an unreadable Secret": {key(func(k *doctor.Key) { k.Err = errors.New("forbidden") }), "unknown api-key could not be checked: forbidden"},
		"a refused key":        {key(func(k *doctor.Key) { k.AccountErr = apiError(http.StatusUnauthorized, "Invalid API token.") }), "error api-key the API refuses the key"},
		"a refused address": {key(func(k *doctor.Key) {
			k.AccountErr = apiError(http.StatusUnauthorized, "Unauthorized IP address: 192.0.2.1")
		}), "warning api-key the key's access list does not admit"},
		"no answer":                        {key(func(k *doctor.Key) { k.AccountErr = apiError(http.StatusBadGateway, "") }), "unknown api-key could not be checked"},
		"the account is closed to the key": {key(func(k *doctor.Key) { k.AccountErr, k.Rights = apiError(http.StatusForbidden, "no"), nil }), ""},
		"a right is missing":               {key(func(k *doctor.Key) { k.Reads["load balancers"] = apiError(http.StatusForbidden, "no") }), "error api-rights the key may not read load balancers"},
		"an optional right is missing":     {key(func(k *doctor.Key) { k.Reads["file systems"] = apiError(http.StatusForbidden, "no") }), "warning api-rights the key may not read file systems"},
		"a read fails":                     {key(func(k *doctor.Key) { k.Reads["instances"] = apiError(http.StatusInternalServerError, "") }), "unknown api-rights could not be checked: instances"},
		"no right to load balancers":       {key(func(k *doctor.Key) { k.Rights = []string{"dns"} }), `warning api-rights the account lists no right "loadbalancer"`},
		"little is left":                   {key(func(k *doctor.Key) { k.Budget = api.Budget{Limit: 30, Remaining: 5, Known: true} }), "warning api-rate 5 of 30 requests are left"},
		"enough is left":                   {key(func(k *doctor.Key) { k.Budget = api.Budget{Limit: 30, Remaining: 6, Known: true} }), ""},

		"no nodes can be read": {func(in *doctor.Input) { in.Nodes.Err = errors.New("x") }, "unknown node could not be checked"},
		"a new node": {nodes(func() *v1.Node {
			n := node("a", "")
			n.CreationTimestamp = metav1.NewTime(now.Add(-time.Minute))
			return n
		}()), ""},
		"a kubelet without the flag": {nodes(node("a", "")), "error kubelet it has no provider ID"},
		"not initialised":            {nodes(node("a", "", "node.cloudprovider.kubernetes.io/uninitialized")), "error provider-id the cloud controller manager has not initialised it"},
		"of another cloud":           {nodes(node("a", "aws:///x")), "error provider-id provider ID"},
		"no such instance": {func(in *doctor.Input) {
			in.Nodes.Value, in.CSINodes.Value = []*v1.Node{node("a", "vultr://"+another)}, []*storagev1.CSINode{csiNode("a", another)}
		}, "error provider-id the account has no instance " + another},
		"instances are not known": {func(in *doctor.Input) { in.Instances.Value, in.Instances.Err = nil, errors.New("x") }, "unknown provider-id could not be checked"},
		"two nodes, one instance": {func(in *doctor.Input) {
			in.Nodes.Value = append(in.Nodes.Value, node("b", "vultr://"+machine))
			in.CSINodes.Value = append(in.CSINodes.Value, csiNode("b", machine))
		}, "error provider-id the nodes a, b have the same instance"},
		"another region": {func(in *doctor.Input) { in.Instances.Value[0].Region = "fra" }, "warning node its label"},
		"deleted": {nodes(func() *v1.Node {
			n := node("a", "vultr://"+machine)
			n.Spec.Taints = []v1.Taint{outofservice.Taint(metav1.NewTime(now))}
			return n
		}()), "warning node its instance was deleted"},
		"no driver":                {func(in *doctor.Input) { in.CSINodes.Value = nil }, "error csi-node the CSI driver is not registered"},
		"no driver, on bare metal": {func(in *doctor.Input) { in.CSINodes.Value, in.Instances.Value[0].Kind = nil, vultr.KindBareMetal }, ""},
		"a wrong identity":         {func(in *doctor.Input) { in.CSINodes.Value[0] = csiNode("a", another) }, "error metadata the node plugin takes it for instance " + another},
		"a start-up taint":         {nodes(node("a", "vultr://"+machine, "block.csi.vultr.com/agent-not-ready")), "warning csi-node it still has the start-up taint"},
		"CSINodes are not known":   {func(in *doctor.Input) { in.CSINodes.Value, in.CSINodes.Err = nil, errors.New("x") }, "unknown csi-node could not be checked"},

		"no manager":       {func(in *doctor.Input) { in.Workloads.Value = in.Workloads.Value[1:] }, "error controllers the cloud controller manager is not installed"},
		"none is ready":    {func(in *doctor.Input) { in.Workloads.Value[0].Ready = 0 }, "error controllers none of its pods is ready"},
		"one is ready":     {func(in *doctor.Input) { in.Workloads.Value[0].Ready = 1 }, "warning controllers 1 of 2 pods are ready"},
		"other releases":   {container(0, "vultr-ccm", "x/ccm:v1.1.0"), "warning versions the programs are of different releases"},
		"another plugin":   {func(in *doctor.Input) { in.Version = "v1.3.0" }, "warning versions the programs are v1.2.0, this plugin is v1.3.0"},
		"an old sidecar":   {container(1, "csi-attacher", "x/csi-attacher:v4.9.0"), "warning sidecars csi-attacher is v4.9.0, tested is v4.13.0"},
		"somebody's own":   {container(1, "csi-attacher", "x/csi-attacher:patched"), ""},
		"a pinned sidecar": {container(1, "csi-attacher", "x/csi-attacher:v4.13.0@sha256:0123"), ""},
		"a missing sidecar": {func(in *doctor.Input) {
			in.Workloads.Value[1].Containers = slices.Delete(in.Workloads.Value[1].Containers, 1, 2)
		}, "error sidecars the sidecar csi-provisioner is missing"},
		"no cluster ID": {func(in *doctor.Input) { in.Workloads.Value[1].Containers[0].Args = nil }, "warning flags --cluster-id is not set"},
		"a wrong flag":  {func(in *doctor.Input) { in.Workloads.Value[1].Containers[0].Args = []string{"--cluster-id=A/B"} }, "error flags --cluster-id of"},
		"the official one": {func(in *doctor.Input) {
			in.Workloads.Value[0] = workload("DaemonSet", kube.CCM, "vultr-cloud-controller-manager=vultr/vultr-cloud-controller-manager:v0.18.0")
		}, "warning official it is the official program's"},
		"both": {func(in *doctor.Input) {
			in.Workloads.Value = append(in.Workloads.Value, workload("StatefulSet", kube.CSIController, "csi-vultr-plugin=vultr/vultr-csi:v0.18.0"))
		}, "error official the official program is there beside ours"},

		"pinned by digests": {but(but(pinned(0, "vultr-ccm"), pinned(1, "csi-controller")), but(pinned(2, "csi-node"), pinned(1, "csi-attacher"))), ""},
		"some pinned":       {pinned(0, "vultr-ccm"), ""},
		"some pinned, and others of two releases": {
			but(pinned(0, "vultr-ccm"), container(2, "csi-node", "x/csi-node:v1.1.0")),
			"warning versions the programs are of different releases: csi-vultr-controller v1.2.0, csi-vultr-node v1.1.0",
		},
		"no tag at all": {but(container(1, "csi-controller", "x/c"), but(container(0, "vultr-ccm", "x/ccm"), container(2, "csi-node", "x/n"))), "warning versions the programs are untagged"},

		"the driver alone":           {noManager, ""},
		"the manager alone":          {noDriver, ""},
		"rights of what is left out": {but(noManager, func(in *doctor.Input) { in.Rights[0] = doctor.Right{Need: doctor.Needs()[0]} }), ""},
		"rights of what is not": {
			but(noDriver, func(in *doctor.Input) { in.Rights[0] = doctor.Right{Need: doctor.Needs()[0]} }),
			"error rbac it may not list nodes",
		},
		"rights are not answered, of the driver alone": {
			but(noManager, func(in *doctor.Input) {
				in.Rights[0] = doctor.Right{Need: doctor.Needs()[0], Err: errors.New("forbidden")}
			}),
			"unknown rbac could not be checked: forbidden",
		},
		"Services without a manager": {but(noManager, func(in *doctor.Input) { in.Balancers.Value[0].State = balancers.Missing }), ""},
		"nodes without a manager":    {but(noManager, nodes(node("a", ""))), ""},
		"nodes without a manager nor a registration": {but(noManager, func(in *doctor.Input) {
			in.Nodes.Value, in.CSINodes.Value = []*v1.Node{node("a", "")}, nil
		}), "error csi-node the CSI driver is not registered"},

		"a right of an account":   {func(in *doctor.Input) { in.Rights[0] = doctor.Right{Need: doctor.Needs()[0]} }, "error rbac it may not list nodes"},
		"rights are not answered": {func(in *doctor.Input) { in.Rights[0] = doctor.Right{Err: errors.New("forbidden")} }, "unknown rbac could not be checked: forbidden"},

		"drift": {func(in *doctor.Input) {
			in.Balancers.Value[0].State, in.Balancers.Value[0].Differs = balancers.Differs, []string{"timeout"}
		}, "warning load-balancer load balancer  differs from what the Service asks for: timeout"},
		"none made": {func(in *doctor.Input) { in.Balancers.Value[0].State = balancers.Missing }, "error load-balancer has no load balancer"},
		"faults": {func(in *doctor.Input) {
			in.Balancers.Value[0].State, in.Balancers.Value[0].Faults = balancers.Faulty, []string{"x"}
		}, "error load-balancer has faults: x"},
		"being made": {func(in *doctor.Input) { in.Balancers.Value[0].State = balancers.Pending }, ""},
		"not known":  {func(in *doctor.Input) { in.Balancers.Err = errors.New("x") }, "unknown load-balancer could not be checked"},
		"closed": {func(in *doctor.Input) {
			in.Ports = []doctor.Port{{Node: "a", Address: "192.0.2.7:31080", Err: errors.New("refused")}}
		}, "warning node-port 192.0.2.7:31080 cannot be reached"},
		"open": {func(in *doctor.Input) { in.Ports = []doctor.Port{{Node: "a", Address: "192.0.2.7:31080"}} }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := healthy()
			test.change(&in)
			var found []string
			for _, f := range doctor.Examine(in) {
				if f.Severity == report.OK {
					continue
				}
				found = append(found, fmt.Sprintf("%s %s %s", f.Severity, f.Check, f.Problem))
				if f.Remedy == "" {
					t.Errorf("nothing to do: %+v", f)
				}
			}
			switch {
			case test.want == "" && len(found) == 0:
			case len(found) != 1 || test.want == "" || !strings.HasPrefix(found[0], test.want):
				t.Errorf("got %q, want %q", found, test.want)
			}
		})
	}
}

// TestMissingProducts: one of the two has to be there, and so has one whose Secret somebody has made.
func TestMissingProducts(t *testing.T) {
	notFound := apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "x")
	ofCSI := doctor.Key{Source: "Secret kube-system/vultr-csi", Ref: kube.KeyRef{Secret: "theirs", Key: "token"}, Uses: doctor.Uses{CSI: true}, Err: notFound}
	const noCCM, noController, noNode = "Deployment kube-system/vultr-ccm", "Deployment kube-system/csi-vultr-controller", "DaemonSet kube-system/csi-vultr-node"
	for name, test := range map[string]struct {
		change func(*doctor.Input)
		want   []string // the objects of the errors
	}{
		"both are there": {func(*doctor.Input) {}, nil},
		"none is there":  {func(in *doctor.Input) { in.Workloads.Value, in.Keys[0].Err = nil, notFound }, []string{"Secret kube-system/vultr-ccm", noCCM, noController, noNode}},
		"the CSI driver's is": {func(in *doctor.Input) {
			in.Workloads.Value, in.Keys = in.Workloads.Value[:1], append(in.Keys, ofCSI)
			in.Keys[1].Err = kube.ErrNoKey
		}, []string{"Secret kube-system/vultr-csi", noController, noNode}},
		"it is not": {func(in *doctor.Input) { in.Workloads.Value, in.Keys = in.Workloads.Value[:1], append(in.Keys, ofCSI) }, nil},
		"half of the driver is there": {func(in *doctor.Input) {
			in.Workloads.Value, in.Keys = in.Workloads.Value[:2], append(in.Keys, ofCSI)
		}, []string{"Secret kube-system/vultr-csi", noNode}},
	} {
		t.Run(name, func(t *testing.T) {
			in := healthy()
			test.change(&in)
			var got []string
			for _, f := range doctor.Examine(in) {
				if f.Severity == report.Error {
					got = append(got, f.Object)
				}
				if f.Object == ofCSI.Source && f.Severity == report.Error && !strings.Contains(f.Remedy, "create secret generic theirs --from-file=token=FILE") {
					t.Errorf("what to do is %q", f.Remedy)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("errors are about %q, want %q", got, test.want)
			}
		})
	}
}
