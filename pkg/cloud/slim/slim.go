// Package slim leaves out of the caches what nothing here reads: most of a Node is what its kubelet reports, and who wrote
// which field. The library copies all Nodes every five seconds, so what is left out saves more than the cache's own memory.
package slim

import (
	v1 "k8s.io/api/core/v1"
)

// Node is a transformation for an informer of Nodes. The object stays as it is: a client may have it from elsewhere, as
// client-go's fake one does. The copy of what remains is shallow.
//
// What is left out is never written: an update of a Node leaves its status alone, patches are made of differences, and
// the API server keeps the managed fields of an update that brings none. So of the status there is what is read: the addresses,
// whether the Node is ready, and which boot of the machine it is.
func Node(object any) (any, error) {
	node, ok := object.(*v1.Node)
	if !ok {
		return object, nil
	}
	slimmed := *node
	slimmed.ManagedFields = nil
	slimmed.Status = v1.NodeStatus{Addresses: node.Status.Addresses, NodeInfo: v1.NodeSystemInfo{BootID: node.Status.NodeInfo.BootID}}
	for i := range node.Status.Conditions {
		if condition := &node.Status.Conditions[i]; condition.Type == v1.NodeReady {
			slimmed.Status.Conditions = append(slimmed.Status.Conditions, *condition)
		}
	}
	return &slimmed, nil
}

// Service is the same for an informer of Services.
func Service(object any) (any, error) {
	service, ok := object.(*v1.Service)
	if !ok {
		return object, nil
	}
	slimmed := *service
	slimmed.ManagedFields = nil
	return &slimmed, nil
}
