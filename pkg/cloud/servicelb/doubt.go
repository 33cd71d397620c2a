package servicelb

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/readiness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/witness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// silentPatience is how long a process waits for kubelets that have not been heard of for a while before it tells that they are another
// cluster's: this one's control plane may have been away. silentPause is how often it looks.
const (
	silentPatience = 2 * time.Minute
	silentPause    = 10 * time.Second
)

// heard returns the Nodes whose kubelets report to this cluster. A control plane that was restored from a backup has the Nodes of the
// cluster that the backup is of, too, but their kubelets report there.
func heard(nodes []*v1.Node) []*v1.Node {
	now := time.Now()
	return slices.DeleteFunc(slices.Clone(nodes), func(node *v1.Node) bool { return !readiness.IsHeard(node, now) })
}

// servesThisCluster returns an error if a load balancer that is the Service's by proof serves machines that run and that are
// no Nodes here, or only in a backup. A cluster that was restored from one of another cluster has the same UIDs and the same
// ledger, and would take that one's traffic, or delete its load balancers. It is asked once in a process: later this cluster's
// Nodes are what is behind it, and may all be replaced.
func (c *Controller) servesThisCluster(ctx context.Context, s *scene, lb vultr.LoadBalancer) error {
	if s.memory.trusted[lb.ID] {
		return nil
	}
	reporting := heard(s.nodes)
	foreign, err := c.foreignBackends(ctx, reporting, lb)
	if err != nil {
		return err
	}
	if foreign && len(reporting) < len(s.nodes) && time.Since(c.began) < silentPatience {
		return waitFor(silentPause, "the nodes behind load balancer %s have not reported yet", lb.ID)
	}
	if foreign {
		namespace, err := c.namespace(ctx, s.service.Namespace)
		if err != nil {
			return err
		}
		c.words.judged(nameOf(s.service), wordOf(namespace))
		if !slices.Contains(slices.Concat(listed(namespace, settings.AllowAdoption), listed(namespace, settings.HandOver)), lb.ID) {
			c.doubts.add(nameOf(s.service))
			return fmt.Errorf("load balancer %s serves machines that run and that are no nodes of this cluster, or do not report to it, as if this cluster was restored from "+
				"another one's backup; it is neither changed nor deleted. If it is this cluster's, annotate the Namespace with %s=%s; to give it up, annotate the Service with %s=false",
				lb.ID, settings.AllowAdoption, lb.ID, settings.Create)
		}
	}
	c.doubts.remove(nameOf(s.service))
	s.memory.trusted[lb.ID] = true
	return nil
}

// foreignBackends reports whether a load balancer serves machines that run, and none that is a Node of this cluster.
func (c *Controller) foreignBackends(ctx context.Context, nodes []*v1.Node, lb vultr.LoadBalancer) (bool, error) {
	own := instancesOf(nodes)
	if len(lb.Instances) == 0 || slices.ContainsFunc(lb.Instances, func(id string) bool { return own[id] }) {
		return false, nil
	}
	list, err := c.API.Instances(ctx, listAge)
	if err != nil {
		return false, fmt.Errorf("looking for the machines behind load balancer %s: %w", lb.ID, err)
	}
	for i := range list.Items {
		// What is powered off serves nobody.
		if machine := &list.Items[i]; machine.PowerStatus != "stopped" && slices.Contains(lb.Instances, machine.ID) {
			return true, nil
		}
	}
	if len(own) == 0 {
		return false, nil
	}
	return false, witness.Count(nodes, list.Items).Doubt() // or their absence says nothing
}

// instancesOf returns the instances behind Nodes.
func instancesOf(nodes []*v1.Node) map[string]bool {
	instances := map[string]bool{}
	for _, node := range nodes {
		if id, err := providerid.Parse(node.Spec.ProviderID); err == nil {
			instances[id] = true
		}
	}
	return instances
}

// doubts are the Services whose load balancers may be another cluster's. The metric counts them.
type doubts struct {
	mu  sync.Mutex
	all map[key]bool
}

func (d *doubts) add(service key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all[service] = true
	doubted.Set(float64(len(d.all)))
}

func (d *doubts) remove(service key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all[service] {
		delete(d.all, service)
		doubted.Set(float64(len(d.all)))
	}
}
