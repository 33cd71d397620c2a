package main

import "k8s.io/cloud-provider/options"

// The library's defaults (one Node at a time, 20 requests a second) are made for clouds that are asked for each Node.
// Ours costs one list for all, so the API server is what a wave of new Nodes waits for: three writes for each.
const (
	nodeSyncs      = 20
	lifecycleSyncs = 10
	kubeAPIQPS     = 300
	kubeAPIBurst   = 600
)

// paceNodes sets the defaults of the flags --concurrent-node-syncs, --concurrent-node-lifecycle-syncs, --kube-api-qps
// and --kube-api-burst.
func paceNodes(o *options.CloudControllerManagerOptions) {
	o.NodeController.ConcurrentNodeSyncs = nodeSyncs
	o.NodeLifecycleController.ConcurrentNodeLifecycleSyncs = lifecycleSyncs
	o.Generic.ClientConnection.QPS = kubeAPIQPS
	o.Generic.ClientConnection.Burst = kubeAPIBurst
}
