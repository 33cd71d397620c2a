// Package slim leaves out of the caches what nothing here reads: two thirds of a Node are the names of its images
// and who wrote which field.
package slim

import (
	v1 "k8s.io/api/core/v1"
)

// Node is a transformation for an informer of Nodes. The object stays as it is: a client may have it from elsewhere, as
// client-go's fake one does. The copy of what remains is shallow.
//
// What is left out is never written: an update of a Node leaves its status alone, patches are made of differences, and
// the API server keeps the managed fields of an update that brings none.
func Node(object any) (any, error) {
	node, ok := object.(*v1.Node)
	if !ok {
		return object, nil
	}
	slimmed := *node
	slimmed.ManagedFields = nil
	slimmed.Status.Images = nil
	return &slimmed, nil
}
