package simulator

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// firstHost is the place in the range of the first instance's address; those before it are for the network itself: its
// gateway, and what a local cluster puts beside the workers.
const firstHost = 11

// freeAddress returns the lowest address of the range that no server has.
func (s *Simulator) freeAddress(tx *store.Tx) (string, error) {
	used := map[string]bool{}
	for _, i := range s.instances.AllIn(tx) {
		used[i.MainIP], used[i.Reserved] = true, true
		for _, extra := range i.Extra {
			used[extra] = true
		}
	}
	for _, m := range s.metals.AllIn(tx) {
		used[m.MainIP], used[m.Reserved] = true, true
	}
	for _, r := range s.reservedIPs.AllIn(tx) {
		used[r.Subnet] = true
	}
	addr := s.cfg.InstanceRange.Addr()
	for range firstHost {
		addr = addr.Next()
	}
	for ; s.cfg.InstanceRange.Contains(addr.Next()); addr = addr.Next() { // the last one is the broadcast address
		if !used[addr.String()] {
			return addr.String(), nil
		}
	}
	return "", fmt.Errorf("no address is left in %s", s.cfg.InstanceRange)
}

func (s *Simulator) netmask() string {
	return dottedMask(s.cfg.InstanceRange.Bits())
}

func dottedMask(bits int) string { return net.IP(net.CIDRMask(bits, 32)).String() }

func (s *Simulator) gateway() netip.Addr { return s.cfg.InstanceRange.Addr().Next() }

// ipv6Network makes a network of the server's UUID. The platform does not compress the text.
func (i instance) ipv6Network() string { return ipv6Network(i.ID) }
func (i instance) ipv6Address() string { return ipv6Address(i.ID) }

func ipv6Network(serverID string) string {
	hex := strings.ReplaceAll(serverID, "-", "")
	return fmt.Sprintf("2001:19f0:%s:%s::", hex[:4], hex[4:8])
}

func ipv6Address(serverID string) string {
	hex := strings.ReplaceAll(serverID, "-", "")
	return fmt.Sprintf("2001:19f0:%s:%s:5400:%s:%s:%s", hex[:4], hex[4:8], hex[8:12], hex[16:20], hex[20:24])
}

// MetadataByAddress returns what the metadata service answers to an asker, and false for a stranger.
func (s *Simulator) MetadataByAddress(ip netip.Addr) (MetadataDoc, bool) {
	asker := ip.Unmap().String()
	for _, r := range s.reservedIPs.All() {
		if r.Subnet == asker && r.Server != "" {
			return s.MetadataByInstance(r.Server)
		}
	}
	for _, i := range s.instances.All() {
		if s.asksFrom(i, asker) {
			return s.metadata(i), true
		}
	}
	for _, m := range s.metals.All() {
		if m.MainIP == asker {
			return s.metalMetadata(m), true
		}
	}
	return MetadataDoc{}, false
}

// MetadataByInstance returns what the metadata service answers to an instance.
func (s *Simulator) MetadataByInstance(id string) (MetadataDoc, bool) {
	if i, ok := s.instances.Get(id); ok {
		return s.metadata(i), true
	}
	if m, ok := s.metals.Get(id); ok {
		return s.metalMetadata(m), true
	}
	return MetadataDoc{}, false
}

// asksFrom reports whether the instance reaches the metadata service from an address: through its public interface, or
// through its VPC when it has no public one.
func (s *Simulator) asksFrom(i instance, address string) bool {
	if i.MainIP == address || slices.Contains(i.Extra, address) {
		return true
	}
	if i.MainIP != "" && s.keeps(quirkPublicNIC) {
		return false
	}
	return slices.ContainsFunc(i.shown(), func(n nic) bool { return n.Address == address })
}

// metadataOf is what the documents of all kinds of servers have.
func (s *Simulator) metadataOf(id, hostname, region, mainIP string, n interfaces) MetadataDoc {
	doc := MetadataDoc{
		InstanceID: id, InstanceV2ID: id, Hostname: hostname, Region: region, RegionCode: strings.ToUpper(region),
		MainIP: mainIP, MAC: publicMAC(id), Private: []MetadataNIC{},
	}
	if mainIP != "" {
		doc.NetmaskV4, doc.GatewayV4 = s.netmask(), s.gateway().String()
	}
	if !s.keeps(quirkRegionCode) {
		doc.RegionCode = region
	}
	if !s.keeps(quirkInstanceV2ID) {
		doc.InstanceV2ID = ""
	}
	if !s.keeps(quirkPrivateNIC) {
		return doc
	}
	for _, i := range n.shown() {
		v, _ := s.vpcs.Get(i.VPC)
		doc.Private = append(doc.Private, MetadataNIC{
			VPC: i.VPC, Type: "private", Address: i.Address, Netmask: dottedMask(v.Mask), MAC: i.MAC,
		})
	}
	return doc
}

func (s *Simulator) metadata(i instance) MetadataDoc {
	doc := s.metadataOf(i.ID, i.Hostname, i.Region, i.MainIP, i.interfaces)
	doc.SSHKeys, doc.StartupScript = i.SSHKeys, i.StartupScript
	doc.Additional = s.furtherAddresses(i.ID, i.MainIP, i.Extra)
	if !s.keeps(quirkNoTags) {
		doc.Tags = i.Tags
	}
	if i.VPCOnly && s.keeps(quirkEVPN) {
		for n := range doc.Private {
			doc.Private[n].Type, doc.Private[n].Address, doc.Private[n].Netmask = "evpn", "dhcp", ""
		}
	}
	if i.IPv6 {
		doc.MainIPv6, doc.NetworkV6 = i.ipv6Address(), i.ipv6Network()
	}
	text := i.UserData
	if i.StaleUserData != nil {
		text = *i.StaleUserData
	}
	if data, err := base64.StdEncoding.DecodeString(text); err == nil {
		doc.UserData = string(data)
	}
	return doc
}

func (s *Simulator) metalMetadata(m bareMetal) MetadataDoc {
	doc := s.metadataOf(m.ID, m.Hostname, m.Region, m.MainIP, m.interfaces)
	doc.SSHKeys, doc.StartupScript = m.SSHKeys, m.StartupScript
	doc.Additional = s.furtherAddresses(m.ID, m.MainIP, nil)
	if m.IPv6 {
		doc.MainIPv6, doc.NetworkV6 = ipv6Address(m.ID), ipv6Network(m.ID)
	}
	if data, err := base64.StdEncoding.DecodeString(m.UserData); err == nil {
		doc.UserData = string(data)
	}
	return doc
}
