package servicelb

import v1 "k8s.io/api/core/v1"

// Candidates returns the Nodes that are to get traffic from load balancers, for those who show what this controller does.
// One that was ready only now and then waits longer than is seen here.
func Candidates(nodes []*v1.Node) []*v1.Node { return candidates(nodes) }
