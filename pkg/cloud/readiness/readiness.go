// Package readiness reads the condition Ready of Nodes.
package readiness

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

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

// silentAfter is how old what a kubelet said last can be at the most. Kubelets say something every five minutes even if nothing has
// changed, and may take half as long again.
const silentAfter = 10 * time.Minute

// IsHeard reports whether the Node's kubelet reports to this API server. It does not if the control plane has given it up, or if what
// it said last is too old, as in a control plane that was restored from a backup. A Node that has no condition yet is a new one.
func IsHeard(node *v1.Node, now time.Time) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == v1.NodeReady {
			last := condition.LastHeartbeatTime
			return condition.Status != v1.ConditionUnknown && (last.IsZero() || now.Sub(last.Time) < silentAfter)
		}
	}
	return true
}
