package servicelb

import (
	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
)

// read reads what a Service asks for. All that does goes through here, so that whoever makes a load balancer and whoever
// deletes it read the same.
func (c *Controller) read(service *v1.Service) plan.Reading {
	return plan.Read(service, plan.WithDefaults(c.Defaults))
}

// referencesOf returns the objects that a Service names.
func referencesOf(service *v1.Service, reading plan.Reading) []reference {
	var named []reference
	if secret := reading.Desired.TLSSecret; secret != "" {
		named = append(named, reference{secretKind, service.Namespace, secret})
	}
	return named
}
