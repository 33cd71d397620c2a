// Package cluster brings up a real Kubernetes on a simulated Vultr cloud, all on
// one machine and all in namespaces of its own, and takes it away again.
//
// An outer box holds the bridge, etcd, the control plane and the simulator. Each
// instance that the simulated cloud starts is a box inside of it, with its own
// containerd, kubelet and kube-proxy; the simulator calls this package's hook to
// start and kill them.
package cluster
