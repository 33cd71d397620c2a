package simulator

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// firstHost is the place in the range of the first instance's address; those before it are for the network itself: its
// gateway, and what a local cluster puts beside the workers.
const firstHost = 11

// freeAddress gives the lowest address of the range that no server has.
func (s *Simulator) freeAddress(tx *store.Tx) (string, error) {
	used := map[string]bool{}
	for _, i := range s.instances.AllIn(tx) {
		used[i.MainIP] = true
	}
	for _, m := range s.metals.AllIn(tx) {
		used[m.MainIP] = true
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
	return net.IP(net.CIDRMask(s.cfg.InstanceRange.Bits(), 32)).String()
}

func (s *Simulator) gateway() netip.Addr { return s.cfg.InstanceRange.Addr().Next() }

// ipv6Network makes a network of the instance's UUID. The platform does not compress the text.
func (i instance) ipv6Network() string {
	hex := strings.ReplaceAll(i.ID, "-", "")
	return fmt.Sprintf("2001:19f0:%s:%s::", hex[:4], hex[4:8])
}

func (i instance) ipv6Address() string {
	hex := strings.ReplaceAll(i.ID, "-", "")
	return fmt.Sprintf("2001:19f0:%s:%s:5400:%s:%s:%s", hex[:4], hex[4:8], hex[8:12], hex[16:20], hex[20:24])
}

// MetadataByAddress gives what the metadata service answers to an asker, and false for a stranger.
func (s *Simulator) MetadataByAddress(ip netip.Addr) (MetadataDoc, bool) {
	asker := ip.Unmap().String()
	for _, i := range s.instances.All() {
		if i.MainIP == asker {
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

// MetadataByInstance gives what the metadata service answers to an instance.
func (s *Simulator) MetadataByInstance(id string) (MetadataDoc, bool) {
	if i, ok := s.instances.Get(id); ok {
		return s.metadata(i), true
	}
	m, ok := s.metals.Get(id)
	return s.metalMetadata(m), ok
}

func (s *Simulator) metadata(i instance) MetadataDoc {
	doc := MetadataDoc{
		InstanceID: i.ID, Hostname: i.Hostname, Region: i.Region, MainIP: i.MainIP,
		NetmaskV4: s.netmask(), GatewayV4: s.gateway().String(),
	}
	if i.IPv6 {
		doc.MainIPv6, doc.NetworkV6 = i.ipv6Address(), i.ipv6Network()
	}
	if data, err := base64.StdEncoding.DecodeString(i.UserData); err == nil {
		doc.UserData = string(data)
	}
	return doc
}

func (s *Simulator) metalMetadata(m bareMetal) MetadataDoc {
	return MetadataDoc{
		InstanceID: m.ID, Hostname: m.Hostname, Region: m.Region, MainIP: m.MainIP,
		NetmaskV4: s.netmask(), GatewayV4: s.gateway().String(),
	}
}
