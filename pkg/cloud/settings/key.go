// Package settings knows the annotations by which users shape the load balancer of a Service: one table says what each
// of them means, and the reader works from it. The reference page, the admission policy and the cluster-wide defaults
// are made from the same table or tested against it.
package settings

// Key is the full name of an annotation.
type Key string

// Prefix begins every annotation of a load balancer. It is the official one, so that existing Services keep working.
const Prefix = "service.beta.kubernetes.io/vultr-loadbalancer-"
