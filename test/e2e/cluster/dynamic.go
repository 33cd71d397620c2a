package cluster

import "k8s.io/client-go/dynamic"

// Dynamic is the administrator's client for kinds that are not a part of Kubernetes itself.
func (c *Cluster) Dynamic() (dynamic.Interface, error) { return dynamic.NewForConfig(c.Rest()) }
