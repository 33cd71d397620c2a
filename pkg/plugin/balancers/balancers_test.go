package balancers_test

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/balancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	uid    = types.UID("11111111-43b6-4d94-b8f5-1c5c0e0a3c11")
	other  = types.UID("22222222-43b6-4d94-b8f5-1c5c0e0a3c11")
	first  = "0a000000-0000-4000-8000-000000000001"
	second = "0a000000-0000-4000-8000-000000000002"
	lbID   = "1b000000-0000-4000-8000-000000000001"
	other1 = "2c000000-0000-4000-8000-000000000001" // a VPC
)

func node(name, id string, ready v1.ConditionStatus) *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelTopologyRegion: "ewr"}},
		Spec:       v1.NodeSpec{ProviderID: "vultr://" + id},
		Status:     v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: ready}}},
	}
}

// world is a Service with the load balancer that it asks for.
func world(change func(*balancers.Input)) balancers.Input {
	service := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: uid, Annotations: map[string]string{}},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 443, NodePort: 31443}, {Port: 80, NodePort: 31080}}},
	}
	want := plan.Read(service).Desired
	lb := vultr.LoadBalancer{
		ID: lbID, Label: lost.Label(uid), Region: "ewr", Status: "active", IPv4: "192.0.2.1", Nodes: want.Nodes, Algorithm: want.Algorithm, Timeout: want.Timeout,
		HealthCheck: want.HealthCheck, Rules: want.Rules, Instances: []string{first, second},
	}
	in := balancers.Input{
		Services: []*v1.Service{service}, Nodes: []*v1.Node{node("a", first, v1.ConditionTrue), node("b", second, v1.ConditionTrue)},
		Entries: map[types.UID]ledger.Entry{uid: {ID: lbID}}, LoadBalancers: []vultr.LoadBalancer{lb}, Instances: []vultr.Instance{{ID: first}, {ID: second}},
	}
	if change != nil {
		change(&in)
	}
	return in
}

func annotate(key settings.Key, value string) func(*balancers.Input) {
	return func(in *balancers.Input) { in.Services[0].Annotations[string(key)] = value }
}

func TestStates(t *testing.T) {
	tests := map[string]struct {
		change  func(*balancers.Input)
		state   balancers.State
		proof   string
		differs []string
		says    string // among faults, warnings and what is left out
	}{
		"as asked for":   {nil, balancers.Serving, "ledger", nil, ""},
		"found by label": {func(in *balancers.Input) { in.Entries = nil }, balancers.Serving, "label", nil, ""},
		"found by address": {func(in *balancers.Input) {
			in.Entries, in.LoadBalancers[0].Label = nil, "web"
			in.Services[0].Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "192.0.2.1"}}
		}, balancers.Differs, "address", []string{"label"}, ""},
		"given up, and left as it is": {func(in *balancers.Input) {
			annotate(settings.Disown, "true")(in)
			in.Entries, in.LoadBalancers[0].Label = map[types.UID]ledger.Entry{lbID: {ID: lbID, Adopted: true, Left: uid}}, "web"
			in.Services[0].Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "192.0.2.1"}}
		}, balancers.Unmanaged, "address", nil, ""},
		"another Service's":  {func(in *balancers.Input) { in.Entries = map[types.UID]ledger.Entry{other: {ID: lbID}} }, balancers.Missing, "", nil, ""},
		"not in the account": {func(in *balancers.Input) { in.LoadBalancers = nil }, balancers.Missing, "", nil, ""},
		"being made":         {func(in *balancers.Input) { in.LoadBalancers[0].Status = "pending" }, balancers.Pending, "ledger", nil, ""},
		"without an address": {func(in *balancers.Input) { in.LoadBalancers[0].IPv4 = "" }, balancers.Pending, "ledger", nil, ""},
		"a setting":          {annotate(settings.Timeout, "300"), balancers.Differs, "ledger", []string{"timeout"}, ""},
		"a fault":            {annotate(settings.Timeout, "never"), balancers.Faulty, "ledger", nil, "must be a number"},
		"a fault, and a new node": {func(in *balancers.Input) {
			annotate(settings.Timeout, "never")(in)
			in.LoadBalancers[0].Instances = []string{first}
		}, balancers.Faulty, "ledger", []string{"instances"}, "must be a number"},
		"unmanaged":                {annotate(settings.Create, "false"), balancers.Unmanaged, "ledger", nil, ""},
		"a new node":               {func(in *balancers.Input) { in.LoadBalancers[0].Instances = []string{first} }, balancers.Differs, "ledger", []string{"instances"}, ""},
		"a node that is not ready": {func(in *balancers.Input) { in.Nodes[1] = node("b", second, v1.ConditionFalse) }, balancers.Differs, "ledger", []string{"instances"}, ""},
		"no nodes":                 {func(in *balancers.Input) { in.Nodes = nil }, balancers.Serving, "ledger", nil, ""},
		"through the nodes' VPC": {func(in *balancers.Input) {
			annotate(settings.VPC, "true")(in)
			in.Instances[0].VPCs, in.Instances[1].VPCs = []string{other1}, []string{other1}
		}, balancers.Differs, "ledger", []string{"vpc"}, ""},
		"in the nodes' VPC, one outside": {func(in *balancers.Input) {
			annotate(settings.VPC, "true")(in)
			in.Instances[0].VPCs, in.LoadBalancers[0].VPC = []string{other1}, other1
			in.LoadBalancers[0].Instances = []string{first}
		}, balancers.Serving, "ledger", nil, "b (not in VPC " + other1},
		"in no VPC": {annotate(settings.VPC, "true"), balancers.Serving, "ledger", nil, "no node is in a VPC"},
		"chosen nodes": {func(in *balancers.Input) {
			annotate(settings.NodeSelector, "pool=web")(in)
			in.Nodes[0].Labels["pool"] = "web"
		}, balancers.Differs, "ledger", []string{"instances"}, ""},
		"policy Local, one node with a pod": {func(in *balancers.Input) {
			in.Services[0].Spec.ExternalTrafficPolicy, in.Services[0].Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyLocal, 32000
			in.LoadBalancers[0].HealthCheck.Protocol, in.LoadBalancers[0].HealthCheck.Port, in.LoadBalancers[0].HealthCheck.Path = "http", 32000, "/healthz"
			in.LoadBalancers[0].Instances = []string{first}
		}, balancers.Serving, "ledger", nil, ""},
		"an instance that the platform lacks": {func(in *balancers.Input) { in.Instances = in.Instances[:1] }, balancers.Differs, "ledger", []string{"instances"}, "b (the platform knows no instance"},
		"a node of elsewhere": {func(in *balancers.Input) {
			in.Nodes = append(in.Nodes, node("c", "not a UUID", v1.ConditionTrue))
		}, balancers.Serving, "ledger", nil, "c (not an instance of this cloud"},
		"firewall rules of somebody": {func(in *balancers.Input) {
			in.LoadBalancers[0].Firewall = []vultr.FirewallRule{{Port: 80, Source: "10.0.0.0/8", IPType: "v4"}}
		}, balancers.Serving, "ledger", nil, ""},
		"firewall rules of the Service's that it names no more": {func(in *balancers.Input) {
			in.LoadBalancers[0].Firewall = []vultr.FirewallRule{{Port: 80, Source: "10.0.0.0/8", IPType: "v4"}}
			in.Entries[uid] = ledger.Entry{ID: lbID, Firewall: true}
		}, balancers.Differs, "ledger", []string{"firewall_rules"}, ""},
		"rules of a ConfigMap": {func(in *balancers.Input) {
			annotate(settings.FirewallRulesCM, "office")(in)
			in.Named = map[types.UID][]plan.Option{uid: {plan.WithFirewallText("10.0.0.0/8,80", nil)}}
		}, balancers.Differs, "ledger", []string{"firewall_rules"}, ""},
		"rules of a ConfigMap that nobody may read": {annotate(settings.FirewallRulesCM, "office"), balancers.Serving, "ledger", nil, ""},
		"adopted, with its own name": {func(in *balancers.Input) {
			in.Entries[uid], in.LoadBalancers[0].Label = ledger.Entry{ID: lbID, Adopted: true}, "web"
		}, balancers.Serving, "ledger", nil, ""},
		"a name that is taken": {func(in *balancers.Input) {
			annotate(settings.Label, "shared")(in)
			in.LoadBalancers = append(in.LoadBalancers, vultr.LoadBalancer{ID: second, Label: "shared"})
		}, balancers.Serving, "ledger", nil, ""},
		"none may be made": {func(in *balancers.Input) {
			annotate(settings.VPC, "yes")(in)
			in.LoadBalancers, in.Entries = nil, nil
		}, balancers.Missing, "", nil, "no load balancer was created"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			shown := balancers.Show(world(test.change))
			if len(shown) != 1 {
				t.Fatalf("got %+v", shown)
			}
			b := shown[0]
			if b.State != test.state || b.Proof != test.proof || !slices.Equal(b.Differs, test.differs) {
				t.Errorf("got %s, %q, %q: %+v", b.State, b.Proof, b.Differs, b)
			}
			said := strings.Join(slices.Concat(b.Faults, b.Warnings, b.LeftOut), "\n")
			if !strings.Contains(said, test.says) || test.says == "" && len(b.Faults)+len(b.LeftOut) > 0 {
				t.Errorf("it says %q, want %q", said, test.says)
			}
		})
	}
}

func TestWhatIsShown(t *testing.T) {
	in := world(func(in *balancers.Input) {
		in.Nodes[1] = node("b", second, v1.ConditionFalse)
		in.LoadBalancers[0].Instances = append(in.LoadBalancers[0].Instances, lbID)
		in.LoadBalancers[0].Nodes = 3
	})
	b := balancers.Show(in)[0]
	if !slices.Equal(b.Rules, []string{"tcp 80 -> tcp 31080", "tcp 443 -> tcp 31443"}) || b.MonthlyCost != 30 || !slices.Equal(b.Addresses, []string{"192.0.2.1"}) {
		t.Errorf("got %+v", b)
	}
	if want := []balancers.Backend{{Instance: first, Node: "a", Ready: true}, {Instance: second, Node: "b"}, {Instance: lbID}}; !slices.Equal(b.Backends, want) {
		t.Errorf("got %+v", b.Backends)
	}
}

// TestOthers shows what is left out without --all, and that nothing of it is trouble.
func TestOthers(t *testing.T) {
	in := world(func(in *balancers.Input) {
		in.LoadBalancers = append(in.LoadBalancers, vultr.LoadBalancer{ID: second, Label: "by hand"})
		class := "example.com/x"
		in.Services = append(in.Services,
			&v1.Service{ObjectMeta: metav1.ObjectMeta{Name: "inner"}, Spec: v1.ServiceSpec{Type: v1.ServiceTypeClusterIP}},
			&v1.Service{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, LoadBalancerClass: &class}})
	})
	if shown := balancers.Show(in); len(shown) != 1 {
		t.Errorf("got %+v", shown)
	}
	in.All = true
	shown := balancers.Show(in)
	if len(shown) != 2 || shown[1].State != balancers.Foreign || shown[1].ID != second || shown[1].State.Trouble() {
		t.Errorf("got %+v", shown)
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	shown := balancers.Show(world(func(in *balancers.Input) {
		annotate(settings.Timeout, "never")(in)
		in.LoadBalancers[0].Label = "a\x1b[2J"
	}))
	if err := report.Write(&out, report.Table, nil, func(tab *report.Tab) { balancers.Table(tab, shown) }); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"SERVICE", "shop/web", "faulty", "2 of 15", "2, 2 ready", "10.00", "fault: annotation"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("the table lacks %q:\n%s", text, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("a label acts on the terminal: %q", out.String())
	}
}
