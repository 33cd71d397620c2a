package addresses

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Choice is which addresses of an instance its Node gets, and in which order. The zero value is the first VPC's, and IPv4 before
// IPv6.
type Choice struct {
	// VPC is the ID of the network whose address is the InternalIP, or Range one that this address is in. Without either it
	// is the first network of the instance.
	VPC   string
	Range netip.Prefix
	// Families are those that Nodes have, in their order: each has an InternalIP then, a public one where there is no other.
	// Without any, Nodes have an InternalIP of IPv4, if the instance has IPv4, and external ones of both.
	Families []v1.IPFamily
}

// ParseNetwork reads which network is chosen: the ID of a VPC or a range of addresses in usual notation; "" chooses none.
func ParseNetwork(text string) (Choice, error) {
	text = strings.TrimSpace(text)
	if text == "" || vultr.IsID(text) {
		return Choice{VPC: strings.ToLower(text)}, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return Choice{}, fmt.Errorf("%q is neither the UUID of a VPC nor a range of addresses such as 10.1.0.0/20", text)
	}
	return Choice{Range: prefix.Masked()}, nil
}

var errFamilies = errors.New("must be one of ipv4, ipv6, or both in the order that nodes are to have, such as ipv4,ipv6")

// ParseFamilies reads an ordered list of families; "" is none.
func ParseFamilies(text string) ([]v1.IPFamily, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var families []v1.IPFamily
	for name := range strings.SplitSeq(text, ",") {
		family, known := map[string]v1.IPFamily{"ipv4": v1.IPv4Protocol, "ipv6": v1.IPv6Protocol}[strings.ToLower(strings.TrimSpace(name))]
		if !known || slices.Contains(families, family) {
			return nil, errFamilies
		}
		families = append(families, family)
	}
	return families, nil
}

// Names reports whether a network is chosen.
func (c Choice) Names() bool { return c.VPC != "" || c.Range.IsValid() }

// Is reports whether a network of an instance is the chosen one.
func (c Choice) Is(network vultr.Network) bool {
	if c.VPC != "" {
		return strings.EqualFold(network.VPC, c.VPC)
	}
	address, err := netip.ParseAddr(network.IP)
	return err == nil && c.Range.Contains(address.Unmap())
}

// Unread reports whether an instance's entry in a list is not enough to know whether it is in the chosen network, and with
// which address.
func (c Choice) Unread(in vultr.Instance) bool {
	switch {
	case !c.Names() || len(in.VPCs) == 0:
		return false
	case c.VPC != "":
		isIn := slices.ContainsFunc(in.VPCs, func(id string) bool { return strings.EqualFold(id, c.VPC) })
		return isIn && (in.InternalIP == "" || !c.Is(vultr.Network{VPC: in.VPCs[0]}))
	}
	return in.InternalIP == "" || len(in.VPCs) > 1 && !c.Is(vultr.Network{IP: in.InternalIP})
}

// Addresses are those of a Node.
type Addresses struct {
	List []v1.NodeAddress
	// VPC is the network of the first internal one that is private, "" if it has none or that is not known.
	VPC string
	// Missed is set if a network was chosen and the instance is not in it. Then it has the addresses that it would have
	// without a choice: public ones in the place of private ones would open what goes between nodes.
	Missed bool
}

// Of lists the addresses of a Node. The networks are all those of its instance, if they had to be read; else its entry in the
// list says what there is. Those in VPCs that the kubelet was told to use are listed, whichever network is chosen, if their
// family is. The host name stays the kubelet's.
func (c Choice) Of(in vultr.Instance, networks []vultr.Network, provided []string) Addresses {
	networks = slices.DeleteFunc(slices.Clone(networks), func(n vultr.Network) bool { return Normalise(n.IP) == "" })
	isListed := func(n vultr.Network) bool { return Normalise(n.IP) == Normalise(in.InternalIP) }
	if in.InternalIP != "" && !slices.ContainsFunc(networks, isListed) {
		listed := vultr.Network{IP: in.InternalIP}
		if len(in.VPCs) > 0 {
			listed.VPC = in.VPCs[0]
		}
		networks = slices.Insert(networks, 0, listed)
	}
	chosen := slices.IndexFunc(networks, c.Is)
	missed := c.Names() && chosen < 0
	if c.Names() && chosen >= 0 {
		first := networks[chosen]
		asked := func(n vultr.Network) bool { return slices.Contains(provided, Normalise(n.IP)) }
		rest := slices.DeleteFunc(slices.Clone(networks), func(n vultr.Network) bool { return n == first || !asked(n) })
		networks = append([]vultr.Network{first}, rest...)
	}
	private := make([]string, 0, len(networks))
	for _, network := range networks {
		private = append(private, network.IP)
	}
	list := c.list(in, private)
	return Addresses{List: list, VPC: vpcOf(list, networks, provided), Missed: missed}
}

// vpcOf returns the network of a Node's internal address. Of several the library leaves those that the kubelet was told to use, if
// there are any.
func vpcOf(list []v1.NodeAddress, networks []vultr.Network, provided []string) string {
	isInternal := func(a v1.NodeAddress) bool { return a.Type == v1.NodeInternalIP }
	isAsked := func(a v1.NodeAddress) bool { return isInternal(a) && slices.Contains(provided, a.Address) }
	counts := isInternal
	if slices.ContainsFunc(list, isAsked) {
		counts = isAsked
	}
	for _, address := range list {
		of := slices.IndexFunc(networks, func(n vultr.Network) bool { return Normalise(n.IP) == address.Address })
		if counts(address) && of >= 0 {
			return networks[of].VPC
		}
	}
	return ""
}

// list puts private and public addresses into the order of the families.
func (c Choice) list(in vultr.Instance, private []string) []v1.NodeAddress {
	var l list
	if len(c.Families) == 0 {
		for _, address := range private {
			l.add(v1.NodeInternalIP, address)
		}
		if len(l) == 0 {
			l.add(v1.NodeInternalIP, cmp.Or(Normalise(in.MainIP), Normalise(in.MainIPv6)))
		}
		l.add(v1.NodeExternalIP, in.MainIP)
		l.add(v1.NodeExternalIP, in.MainIPv6)
		return l
	}
	public := map[v1.IPFamily]string{v1.IPv4Protocol: in.MainIP, v1.IPv6Protocol: in.MainIPv6}
	for _, family := range c.Families {
		before := len(l)
		for _, address := range private {
			if familyOf(address) == family {
				l.add(v1.NodeInternalIP, address)
			}
		}
		if len(l) == before {
			l.add(v1.NodeInternalIP, public[family])
		}
	}
	for _, family := range c.Families {
		l.add(v1.NodeExternalIP, public[family])
	}
	return l
}

func familyOf(text string) v1.IPFamily {
	switch address, err := netip.ParseAddr(Normalise(text)); {
	case err != nil:
		return v1.IPFamilyUnknown
	case address.Is4():
		return v1.IPv4Protocol
	}
	return v1.IPv6Protocol
}

// list is a list of addresses, each once.
type list []v1.NodeAddress

func (l *list) add(kind v1.NodeAddressType, text string) {
	if address := (v1.NodeAddress{Type: kind, Address: Normalise(text)}); address.Address != "" && !slices.Contains(*l, address) {
		*l = append(*l, address)
	}
}
