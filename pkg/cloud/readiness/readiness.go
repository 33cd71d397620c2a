// Package readiness reads the condition Ready of Nodes.
package readiness

import v1 "k8s.io/api/core/v1"

// Of returns the Node's condition Ready; without one nothing is known.
func Of(node *v1.Node) v1.NodeCondition {
	for _, condition := range node.Status.Conditions {
		if condition.Type == v1.NodeReady {
			return condition
		}
	}
	return v1.NodeCondition{Type: v1.NodeReady, Status: v1.ConditionUnknown}
}

// IsReady reports whether the Node's kubelet says that it is ready.
func IsReady(node *v1.Node) bool { return Of(node).Status == v1.ConditionTrue }

// IsReporting reports whether the Node's kubelet says that it is not ready. Of a machine that is gone only the control
// plane speaks, and it says that it does not know.
func IsReporting(node *v1.Node) bool { return Of(node).Status == v1.ConditionFalse }
