package slim

import (
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EndpointSlice is a transformation for an informer of EndpointSlices. What remains says on which nodes a Service has pods in
// which condition: one endpoint for all that are alike. A cluster has as many endpoints as pods, and most of them belong to
// Services without a load balancer.
func EndpointSlice(object any) (any, error) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return object, nil
	}
	slimmed := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: slice.Namespace, Name: slice.Name, UID: slice.UID, ResourceVersion: slice.ResourceVersion},
	}
	if service, there := slice.Labels[discoveryv1.LabelServiceName]; there {
		slimmed.Labels = map[string]string{discoveryv1.LabelServiceName: service}
	}
	known := map[alike]bool{}
	for i := range slice.Endpoints {
		endpoint := &slice.Endpoints[i]
		if endpoint.NodeName == nil {
			continue
		}
		like := alike{*endpoint.NodeName, condition(endpoint.Conditions.Ready), condition(endpoint.Conditions.Serving), condition(endpoint.Conditions.Terminating)}
		if known[like] {
			continue
		}
		known[like] = true
		slimmed.Endpoints = append(slimmed.Endpoints, discoveryv1.Endpoint{NodeName: endpoint.NodeName, Conditions: endpoint.Conditions})
	}
	return slimmed, nil
}

// alike is what is told apart of an endpoint.
type alike struct {
	node                        string
	ready, serving, terminating string
}

func condition(is *bool) string {
	switch {
	case is == nil:
		return ""
	case *is:
		return "true"
	}
	return "false"
}
