package servicelb

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Which changes of backends are urgent: those that take out what does not serve any more.
func TestLosesTraffic(t *testing.T) {
	const a, b = "dddddddd-66fd-4dfb-b839-443f2e6c0b60", "eeeeeeee-66fd-4dfb-b839-443f2e6c0b60"
	other := func(n *v1.Node) { n.Spec.ProviderID = "vultr://" + b }
	both := []string{a, b}
	for name, tt := range map[string]struct {
		node   func(*v1.Node) // what has happened to the one of a; nil is that it is gone
		wanted *[]string
		want   bool
	}{
		"not ready":               {notReady, &[]string{b}, true},
		"of unknown readiness":    {neverReady, &[]string{b}, true},
		"being deleted":           {nodeDeleted, &[]string{b}, true},
		"out of service":          {markedGone, &[]string{b}, true},
		"gone":                    {nil, &[]string{b}, true},
		"another machine":         {withoutMachine, &[]string{b}, true},
		"excluded":                {excluded(""), &[]string{b}, false},
		"to be removed":           {toBeRemoved, &[]string{b}, false},
		"works":                   {otherTaint, &[]string{b}, false},
		"not ready, and kept":     {notReady, &both, false},
		"not ready, not told":     {notReady, nil, false},
		"not ready, was none":     {notReady, &[]string{}, true},
		"the other one taken out": {notReady, &[]string{a}, false},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := []*v1.Node{testNode("b", other)}
			if tt.node != nil {
				nodes = append(nodes, testNode("a", tt.node))
			}
			if got := losesTraffic(nodes, both, tt.wanted); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// For how long a list serves the syncs that follow when Nodes fail.
func TestAgeOfListsWhenNodesFail(t *testing.T) {
	var f failure
	now := time.Now()
	if age := f.age(now); age != 0 {
		t.Errorf("%v before any has failed", age)
	}
	f.begins(now)
	for after, want := range map[time.Duration]time.Duration{
		0: listAge, time.Second: listAge + time.Second, 5 * time.Second: listAge + 5*time.Second, failureLasts - listAge: 0, time.Hour: 0,
	} {
		if age := f.age(now.Add(after)); age != want {
			t.Errorf("%v, %v later", age, after)
		}
	}
	later := now.Add(time.Hour)
	f.begins(later)
	if age := f.age(later.Add(time.Second)); age != listAge+time.Second {
		t.Errorf("%v when others fail later", age)
	}
}
