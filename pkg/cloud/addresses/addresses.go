// Package addresses reads the addresses of instances and of Nodes in one form.
package addresses

import (
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	cloudproviderapi "k8s.io/cloud-provider/api"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Of lists the addresses of an instance, the one in the VPC first, then those of further VPCs. An instance without a
// VPC is reached inside and outside by its main address, which is listed as both: components choose InternalIP first,
// and the official controller's Nodes have both too, so that a switch takes no address from a Node.
func Of(instance vultr.Instance, further ...string) []v1.NodeAddress {
	return Choice{}.list(instance, append([]string{instance.InternalIP}, further...))
}

// Provided returns the addresses that the kubelet was told to use by --node-ip.
func Provided(node *v1.Node) []string {
	return unique(strings.Split(node.Annotations[cloudproviderapi.AnnotationAlphaProvidedIPAddr], ",")...)
}

// Reported returns all addresses that a Node has, by --node-ip or in its status.
func Reported(node *v1.Node) []string {
	list := Provided(node)
	for _, address := range node.Status.Addresses {
		if address.Type == v1.NodeInternalIP || address.Type == v1.NodeExternalIP {
			list = append(list, address.Address)
		}
	}
	return unique(list...)
}

// Texts returns the addresses alone.
func Texts(list []v1.NodeAddress) []string {
	texts := make([]string, 0, len(list))
	for _, address := range list {
		texts = append(texts, address.Address)
	}
	return unique(texts...)
}

// Unique reports whether an address belongs to one machine in the world. A private one belongs to one machine in each of
// any number of networks.
func Unique(address string) bool {
	parsed, err := netip.ParseAddr(address)
	return err == nil && !parsed.IsPrivate() && !parsed.IsLoopback() && !parsed.IsLinkLocalUnicast() && !carrier.Contains(parsed)
}

// carrier is shared address space (RFC 6598), which is as private as the others.
var carrier = netip.MustParsePrefix("100.64.0.0/10")

// Normalise returns the usual text form of an address, "" for none: the platform writes IPv6 in full length, and
// "0.0.0.0" or "::" for what is not assigned.
func Normalise(address string) string {
	parsed, err := netip.ParseAddr(strings.TrimSpace(address))
	if err != nil || parsed.IsUnspecified() {
		return ""
	}
	return parsed.Unmap().String()
}

// unique normalises addresses and drops what is none and what is repeated.
func unique(texts ...string) []string {
	var list []string
	for _, text := range texts {
		if address := Normalise(text); address != "" && !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	return list
}
