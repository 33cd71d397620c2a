package instances

import (
	"net/netip"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// metadata translates an instance into what Kubernetes wants to know of it.
func metadata(instance vultr.Instance, zoneFromRegion bool) *cloudprovider.InstanceMetadata {
	region := strings.ToLower(instance.Region)
	md := &cloudprovider.InstanceMetadata{
		ProviderID:    providerid.Format(instance.ID),
		InstanceType:  LabelValue(instance.Plan),
		NodeAddresses: addresses(instance),
		Region:        LabelValue(region),
	}
	if zoneFromRegion {
		md.Zone = md.Region
	}
	return md
}

// addresses lists every address once. Inside is the address in the VPC; an instance without one is reached inside
// and outside by its main address, which is then listed as the inside one: components choose InternalIP first, and
// the kubelet's --node-ip must be among the addresses whatever its type. The host name stays the kubelet's.
func addresses(instance vultr.Instance) []v1.NodeAddress {
	inside, outside := normalise(instance.InternalIP), normalise(instance.MainIP)
	if inside == "" {
		inside, outside = outside, ""
	}
	var list []v1.NodeAddress
	add := func(kind v1.NodeAddressType, address string) {
		if address != "" {
			list = append(list, v1.NodeAddress{Type: kind, Address: address})
		}
	}
	add(v1.NodeInternalIP, inside)
	add(v1.NodeExternalIP, outside)
	add(v1.NodeExternalIP, normalise(instance.MainIPv6))
	return list
}

// normalise returns the usual text form of an address, "" for none: the platform writes IPv6 in full length, and
// "0.0.0.0" or "::" for what is not assigned.
func normalise(address string) string {
	parsed, err := netip.ParseAddr(strings.TrimSpace(address))
	if err != nil || parsed.IsUnspecified() {
		return ""
	}
	return parsed.Unmap().String()
}

var notLabel = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

const maxLabelValue = 63

// LabelValue makes text fit for a label's value, unchanged if it is.
func LabelValue(text string) string {
	text = notLabel.ReplaceAllString(text, "-")
	if len(text) > maxLabelValue {
		text = text[:maxLabelValue]
	}
	return strings.Trim(text, "-._")
}
