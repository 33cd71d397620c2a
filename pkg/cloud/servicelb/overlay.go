package servicelb

import (
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// overlay returns a load balancer as it is once the settings show.
func overlay(lb vultr.LoadBalancer, s vultr.LoadBalancerSettings) vultr.LoadBalancer {
	put(&lb.Label, s.Label)
	put(&lb.Nodes, s.Nodes)
	put(&lb.Algorithm, s.Algorithm)
	put(&lb.Timeout, s.Timeout)
	put(&lb.SSLRedirect, s.SSLRedirect)
	put(&lb.ProxyProtocol, s.ProxyProtocol)
	put(&lb.HTTP2, s.HTTP2)
	put(&lb.HTTP3, s.HTTP3)
	put(&lb.StickyCookie, s.StickyCookie)
	put(&lb.VPC, s.VPC)
	put(&lb.HealthCheck, s.HealthCheck)
	put(&lb.AutoSSL, s.AutoSSL)
	putAll(&lb.Rules, s.Rules)
	putAll(&lb.Firewall, s.Firewall)
	putAll(&lb.Instances, s.Instances)
	putAll(&lb.GlobalRegions, s.GlobalRegions)
	if s.Certificate != nil {
		lb.HasSSL = true
	}
	return lb
}

func put[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func putAll[T any](field, value *[]T) {
	if value != nil {
		*field = slices.Clone(*value)
	}
}
