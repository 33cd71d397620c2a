package settings

import "strings"

// foreignSetting is an annotation of another cloud.
type foreignSetting struct {
	cloud string
	// asks reports whether the value asks for restricted access; nil if the annotation is about something else, although
	// its name sounds like it.
	asks func(value string) bool
}

// is returns a function that compares a value without regard to case.
func is(wanted ...string) func(string) bool {
	return func(value string) bool {
		for _, want := range wanted {
			if strings.EqualFold(strings.TrimSpace(value), want) {
				return true
			}
		}
		return false
	}
}

// foreignSettings are the annotations by which other clouds restrict access to a load balancer. Users bring them along
// when they move a Service, and every load balancer here is public.
var foreignSettings = map[string]foreignSetting{
	"service.beta.kubernetes.io/aws-load-balancer-internal":        {"AWS", unlessOff},
	"service.beta.kubernetes.io/aws-load-balancer-scheme":          {"AWS", notPublic},
	"service.beta.kubernetes.io/aws-load-balancer-security-groups": {"AWS", unlessEmpty},

	"networking.gke.io/load-balancer-type": {"Google Cloud", notPublic},
	"cloud.google.com/load-balancer-type":  {"Google Cloud", notPublic},

	"service.beta.kubernetes.io/azure-load-balancer-internal":                      {"Azure", unlessOff},
	"service.beta.kubernetes.io/azure-load-balancer-internal-subnet":               {"Azure", nil}, // without the former it does nothing
	"service.beta.kubernetes.io/azure-allowed-service-tags":                        {"Azure", unlessEmpty},
	"service.beta.kubernetes.io/azure-allowed-ip-ranges":                           {"Azure", unlessEmpty},
	"service.beta.kubernetes.io/azure-deny-all-except-load-balancer-source-ranges": {"Azure", nil}, // the ranges are honoured, and nobody else gets in

	"service.beta.kubernetes.io/do-loadbalancer-network":     {"DigitalOcean", notPublic},
	"service.beta.kubernetes.io/do-loadbalancer-allow-rules": {"DigitalOcean", unlessEmpty},
	"service.beta.kubernetes.io/do-loadbalancer-deny-rules":  {"DigitalOcean", unlessEmpty},

	"load-balancer.hetzner.cloud/disable-public-network":  {"Hetzner", unlessOff},
	"load-balancer.hetzner.cloud/use-private-ip":          {"Hetzner", nil}, // how the nodes are reached
	"load-balancer.hetzner.cloud/disable-private-ingress": {"Hetzner", nil},
	"load-balancer.hetzner.cloud/private-ipv4":            {"Hetzner", nil},
	"load-balancer.hetzner.cloud/private-subnet-ip-range": {"Hetzner", nil},

	"service.beta.kubernetes.io/openstack-internal-load-balancer": {"OpenStack", unlessOff},

	"service.beta.kubernetes.io/linode-loadbalancer-firewall-acl": {"Linode", unlessEmpty},
	"service.beta.kubernetes.io/linode-loadbalancer-firewall-id":  {"Linode", unlessEmpty},

	"service.beta.kubernetes.io/oci-load-balancer-internal":       {"Oracle Cloud", unlessOff},
	"oci-network-load-balancer.oraclecloud.com/internal":          {"Oracle Cloud", unlessOff},
	"oci.oraclecloud.com/oci-network-security-groups":             {"Oracle Cloud", unlessEmpty},
	"service.beta.kubernetes.io/scw-loadbalancer-private":         {"Scaleway", unlessOff},
	"yandex.cloud/load-balancer-type":                             {"Yandex Cloud", notPublic},
	"service.kubernetes.io/qcloud-loadbalancer-internal-subnetid": {"Tencent Cloud", unlessEmpty},

	"service.kubernetes.io/ibm-load-balancer-cloud-provider-ip-type":     {"IBM Cloud", notPublic},
	"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type": {"Alibaba Cloud", notPublic},
	"service.beta.kubernetes.io/alicloud-loadbalancer-address-type":      {"Alibaba Cloud", notPublic},
	"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-acl-id":       {"Alibaba Cloud", unlessEmpty},
	"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-acl-status":   {"Alibaba Cloud", nil}, // without an ID it does nothing
}
