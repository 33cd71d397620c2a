// Package outofservice knows the mark that is put on a Node whose instance is proven gone: Kubernetes' own taint
// node.kubernetes.io/out-of-service with a value of ours, so that the marks of administrators stay theirs.
package outofservice

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Value is the value of the taint.
const Value = "instance-deleted"

// Taint returns the mark as it is put on a Node at the given time, which survives a restart of this program.
func Taint(now metav1.Time) v1.Taint {
	return v1.Taint{Key: v1.TaintNodeOutOfService, Value: Value, Effect: v1.TaintEffectNoExecute, TimeAdded: &now}
}

// Is reports whether the taint is the mark.
func Is(t v1.Taint) bool { return t.Key == v1.TaintNodeOutOfService && t.Value == Value }

// Marked reports whether the Node bears the mark.
func Marked(node *v1.Node) bool { return slices.ContainsFunc(node.Spec.Taints, Is) }

// Effective returns the taint that makes Kubernetes take pods and disks off the Node: the mark, or one that an
// administrator has put there. The API server admits one taint of a key and an effect, so where theirs is there is no
// room for the mark, and no need.
func Effective(node *v1.Node) (v1.Taint, bool) {
	for _, t := range node.Spec.Taints {
		if t.Key == v1.TaintNodeOutOfService && t.Effect == v1.TaintEffectNoExecute {
			return t, true
		}
	}
	return v1.Taint{}, false
}
