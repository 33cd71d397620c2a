package servicelb

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

// key names a load balancer: the Service that it serves.
type key = cache.ObjectName

// nameOf returns what a Service is called.
func nameOf(service *v1.Service) key { return key{Namespace: service.Namespace, Name: service.Name} }

// keyOf returns the key of the load balancer that the Service has or is to have: one of its own.
func (c *Controller) keyOf(service *v1.Service) key { return nameOf(service) }

// enqueueNamed adds the load balancer of the Service of this name.
func (c *Controller) enqueueNamed(name key) {
	service, err := c.services.Services(name.Namespace).Get(name.Name)
	if err != nil {
		c.queue.Add(name) // the Service is gone, and so is to be what is remembered of it
		return
	}
	c.queue.Add(c.keyOf(service))
}

// wanted reports whether a Service is to have a load balancer, and not on its way to lose it.
func (c *Controller) wanted(service *v1.Service) bool {
	return service.DeletionTimestamp == nil && service.Spec.Type == v1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil
}
