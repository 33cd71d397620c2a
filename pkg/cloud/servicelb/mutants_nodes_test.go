package servicelb

import (
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/outofservice"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

func testNode(name string, change ...func(*v1.Node)) *v1.Node {
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelTopologyRegion: "ewr"}},
		Spec:       v1.NodeSpec{ProviderID: "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b60"},
		Status:     v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}},
	}
	for _, c := range change {
		c(node)
	}
	return node
}

func notReady(n *v1.Node)     { n.Status.Conditions[0].Status = v1.ConditionFalse }
func neverReady(n *v1.Node)   { n.Status.Conditions[0].Status = v1.ConditionUnknown }
func noConditions(n *v1.Node) { n.Status.Conditions = nil }
func otherCondition(n *v1.Node) {
	n.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeMemoryPressure, Status: v1.ConditionTrue}}
}
func nodeDeleted(n *v1.Node)    { n.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }
func toBeRemoved(n *v1.Node)    { n.Spec.Taints = []v1.Taint{{Key: toBeDeleted}} }
func otherTaint(n *v1.Node)     { n.Spec.Taints = []v1.Taint{{Key: "dedicated"}} }
func markedGone(n *v1.Node)     { n.Spec.Taints = append(n.Spec.Taints, outofservice.Taint(metav1.Time{})) }
func withoutMachine(n *v1.Node) { n.Spec.ProviderID = "" }

func excluded(value string) func(*v1.Node) {
	return func(n *v1.Node) { n.Labels[v1.LabelNodeExcludeBalancers] = value }
}

// Which Nodes get traffic.
func TestCandidates(t *testing.T) {
	for name, change := range map[string]func(*v1.Node){
		"deleted": nodeDeleted, "about to be removed": toBeRemoved, "excluded": excluded("true"), "excluded by an empty value": excluded(""),
		"excluded by any text": excluded("yes, please"), "not ready": notReady, "of unknown readiness": neverReady, "without conditions": noConditions,
		"with another condition": otherCondition,
	} {
		t.Run(name, func(t *testing.T) {
			got := candidates([]*v1.Node{testNode("a", change), testNode("b")})
			if len(got) != 1 || got[0].Name != "b" {
				t.Errorf("%d nodes", len(got))
			}
		})
	}
	for name, change := range map[string]func(*v1.Node){"not excluded": excluded("false"), "tainted otherwise": otherTaint} {
		t.Run(name, func(t *testing.T) {
			if got := candidates([]*v1.Node{testNode("a", change), testNode("b")}); len(got) != 2 {
				t.Errorf("%d nodes", len(got))
			}
		})
	}
	t.Run("none ready", func(t *testing.T) {
		got := candidates([]*v1.Node{testNode("a", notReady), testNode("b", notReady, excluded("")), testNode("c", notReady, nodeDeleted), testNode("d", neverReady)})
		if names := namesOf(got); !slices.Equal(names, []string{"a", "d"}) {
			t.Errorf("%v", names)
		}
	})
}

func namesOf(nodes []*v1.Node) []string {
	var names []string
	for _, node := range nodes {
		names = append(names, node.Name)
	}
	return names
}

// However many nodes are left out, an Event names some of them and says how many there are.
func TestLeftOutText(t *testing.T) {
	for n, want := range map[int]string{0: "", 2: "n0, n1", 10: "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9", 11: "n0, n1, n10, n2, n3, n4, n5, n6, n7, n8 and 1 more"} {
		s := &scene{}
		for i := range n {
			s.leftOut = append(s.leftOut, fmt.Sprint("n", n-1-i))
		}
		if got := s.leftOutText(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What a change of a Node announces: nothing when backends do not depend on it, at once when it stops to get traffic.
func TestNodeChanges(t *testing.T) {
	const calm, urgent, nothing = "calm", "urgent", "nothing"
	sameOtherwise := func(n *v1.Node) {
		n.ResourceVersion, n.Labels["x"], n.Status.Conditions[0].LastHeartbeatTime = "9", "y", metav1.Now()
	}
	otherMachine := func(n *v1.Node) { n.Spec.ProviderID = "vultr://eeeeeeee-66fd-4dfb-b839-443f2e6c0b60" }
	otherRegion := func(n *v1.Node) { n.Labels[v1.LabelTopologyRegion] = "ams" }
	of := func(change ...func(*v1.Node)) *v1.Node { return testNode("a", change...) }
	for name, tt := range map[string]struct {
		before, after *v1.Node
		want          string
		selector      string // of a Service
	}{
		"nothing that matters":              {of(), of(sameOtherwise), nothing, ""},
		"other labels, which matter":        {of(), of(sameOtherwise), calm, "pool=web"},
		"nothing, and a selector":           {of(), of(), nothing, "pool=web"},
		"not ready, as before":              {of(notReady), of(neverReady), nothing, ""},
		"joins":                             {nil, of(), calm, ""},
		"joins without a machine":           {nil, of(withoutMachine), calm, ""},
		"gets its machine":                  {of(withoutMachine), of(), calm, ""},
		"becomes ready":                     {of(notReady), of(), calm, ""},
		"is no longer excluded":             {of(excluded("")), of(), calm, ""},
		"has another machine":               {of(), of(otherMachine), calm, ""},
		"has another region":                {of(), of(otherRegion), calm, ""},
		"leaves":                            {of(), nil, urgent, ""},
		"leaves, and was not ready":         {of(notReady), nil, calm, ""},
		"is deleted":                        {of(), of(nodeDeleted), urgent, ""},
		"is not ready":                      {of(), of(notReady), urgent, ""},
		"is excluded":                       {of(), of(excluded("")), urgent, ""},
		"is to be removed":                  {of(), of(toBeRemoved), urgent, ""},
		"is out of service":                 {of(), of(markedGone), urgent, ""},
		"is in service again":               {of(markedGone), of(), calm, ""},
		"loses its machine":                 {of(), of(withoutMachine), urgent, ""},
		"is excluded while it is gone":      {of(markedGone), of(markedGone, excluded("")), calm, ""},
		"is excluded while it is not ready": {of(notReady), of(notReady, excluded("")), calm, ""},
	} {
		t.Run(name, func(t *testing.T) {
			services := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
			c := &Controller{waves: newWaves(func() {}), services: corelisters.NewServiceLister(services)}
			if tt.selector != "" {
				if err := services.Add(testService(annotated(settings.NodeSelector, tt.selector))); err != nil {
					t.Fatal(err)
				}
			}
			c.nodeChanged(tt.before, tt.after)
			got := nothing
			select {
			case isUrgent := <-c.waves.changed:
				if got = calm; isUrgent {
					got = urgent
				}
			default:
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
