package plan

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Presence is what a node has of the pods of a Service.
type Presence int

// The kinds of presence, from least to most.
const (
	// NoPod is for nodes without a pod that answers.
	NoPod Presence = iota
	// EndingPod is for nodes whose pods are all being terminated, while they still answer: kube-proxy sends connections to
	// them, though it fails the health check.
	EndingPod
	// ReadyPod is for nodes with a pod that is ready.
	ReadyPod
)

// Pods returns what the nodes have of the pods in these EndpointSlices, by the name of the node. Endpoints that are on no
// node are left out: no kube-proxy takes them for its own.
func Pods(parts ...*discoveryv1.EndpointSlice) map[string]Presence {
	pods := map[string]Presence{}
	for _, part := range parts {
		for i := range part.Endpoints {
			endpoint := &part.Endpoints[i]
			if endpoint.NodeName == nil || *endpoint.NodeName == "" {
				continue
			}
			if there := presence(endpoint.Conditions); there != NoPod {
				pods[*endpoint.NodeName] = max(pods[*endpoint.NodeName], there)
			}
		}
	}
	return pods
}

// presence reads the conditions as the API defines them where they are unset.
func presence(conditions discoveryv1.EndpointConditions) Presence {
	or := func(condition *bool, unset bool) bool {
		if condition == nil {
			return unset
		}
		return *condition
	}
	switch {
	case or(conditions.Ready, true):
		return ReadyPod
	case or(conditions.Serving, true) && or(conditions.Terminating, false):
		return EndingPod
	}
	return NoPod
}

// Place is a node as a load balancer has it now.
type Place struct {
	Node *v1.Node
	// Backend is set if its instance is a backend.
	Backend bool
	// Tried is set if it has been one for so long that the load balancer knows whether it is healthy.
	Tried bool
}

// Local returns the nodes that get the traffic of a Service with externalTrafficPolicy Local, none if no pod answers. A
// node whose pods begin to end leaves while they still answer, so that no connection meets one that has ended; but not
// before another one that was tried can take its traffic. If that is what it waits for, waits is set.
func Local(places []Place, pods map[string]Presence) (chosen []*v1.Node, waits bool) {
	var ready, ending, leaving []*v1.Node
	tried := false
	for _, place := range places {
		switch pods[place.Node.Name] {
		case ReadyPod:
			ready = append(ready, place.Node)
			tried = tried || place.Tried
		case EndingPod:
			ending = append(ending, place.Node)
			if place.Backend {
				leaving = append(leaving, place.Node)
			}
		case NoPod:
		}
	}
	switch {
	case len(ready) == 0:
		return ending, false
	case tried || len(leaving) == 0:
		return ready, false
	}
	return append(ready, leaving...), true
}

// Joint returns what the nodes have of the pods of several Services, the oldest first, that have their backends in common: of
// each node the least that it has of any of them, so that whoever is chosen by that serves all.
//
// apart are the Services, by their places, that this leaves out: their pods are ready, but no node would be left that has
// ready ones of the older Services too. One without a ready pod narrows nothing for those that have some.
func Joint(nodes []*v1.Node, all []map[string]Presence) (joint map[string]Presence, apart []int) {
	if len(all) == 1 {
		return maps.Clone(all[0]), nil
	}
	for _, kind := range []Presence{ReadyPod, EndingPod} {
		for i, own := range all {
			if most(nodes, own) != kind {
				continue
			}
			switch least := lesser(joint, own); {
			case joint == nil:
				joint = maps.Clone(own)
			case most(nodes, least) >= most(nodes, joint):
				joint = least
			case kind == ReadyPod:
				apart = append(apart, i)
			}
		}
	}
	if joint == nil {
		joint = map[string]Presence{}
	}
	return joint, apart
}

// most returns the most that any of the nodes has.
func most(nodes []*v1.Node, pods map[string]Presence) Presence {
	top := NoPod
	for _, node := range nodes {
		top = max(top, pods[node.Name])
	}
	return top
}

// lesser returns for each node the lesser of two presences.
func lesser(a, b map[string]Presence) map[string]Presence {
	least := map[string]Presence{}
	for node, there := range a {
		if there = min(there, b[node]); there != NoPod {
			least[node] = there
		}
	}
	return least
}
