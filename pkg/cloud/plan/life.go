package plan

import (
	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// life reads what the load balancer is called, and what the Service's status says of it.
func (r *reader) life() {
	r.out.Desired.Label = r.Text(settings.Label)
	r.out.Desired.Hostname = r.Text(settings.Hostname)
	r.out.Desired.IPMode = ipModes[r.Text(settings.IPMode)]
	r.out.Retain = r.Bool(settings.Retain) || r.malformed(settings.Retain)
	r.out.Protected = r.Bool(settings.DeletionProtection) || r.malformed(settings.DeletionProtection)
}

// malformed reports whether the Service has a value for an annotation that can't be used.
func (r *reader) malformed(key settings.Key) bool {
	setting, known := settings.Lookup(key)
	if !known {
		return false
	}
	_, err := setting.Check(r.service.Annotations[string(key)])
	return err != nil
}

// ipModes are the values of the annotation in Kubernetes' words. Nothing stands for nothing.
var ipModes = map[string]*v1.LoadBalancerIPMode{"vip": new(v1.LoadBalancerIPModeVIP), "proxy": new(v1.LoadBalancerIPModeProxy)}

// fields checks what only others read, and reports the fields of the Service that the platform has nothing for.
func (r *reader) fields() {
	r.Bool(settings.Create)
	r.Bool(settings.Disown)
	r.out.ID = r.Text(settings.ID)
	if r.service.Spec.SessionAffinity == v1.ServiceAffinityClientIP {
		r.Warn("sessionAffinity ClientIP sees the load balancer's address, not the client's: use %s", settings.StickySessionEnabled)
	}
	if ip := r.service.Spec.LoadBalancerIP; ip != "" {
		r.Warn("spec.loadBalancerIP %s has no effect: the platform chooses the address", ip)
	}
}
