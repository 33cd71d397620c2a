package metadata

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// document is /v1.json. Field order and names are the platform's.
type document struct {
	BGP            bgp      `json:"bgp"`
	Hostname       string   `json:"hostname"`
	InstanceV2ID   string   `json:"instance-v2-id"`
	InstanceLegacy string   `json:"instance-id"`
	InstanceID     string   `json:"instanceid"`
	Interfaces     []nic    `json:"interfaces"`
	LocalHostname  string   `json:"local-hostname"`
	NvidiaDriver   []string `json:"nvidia-driver"`
	PublicKeys     []string `json:"public-keys"`
	Region         region   `json:"region"`
	StartupScript  string   `json:"startup-script"`
	Tags           []string `json:"tags"`
	UserData       string   `json:"user-data"`
	UserDefined    []string `json:"user-defined"`
	VendorData     any      `json:"vendor-data"`
}

type bgp struct {
	IPv4 bgpPeer `json:"ipv4"`
	IPv6 bgpPeer `json:"ipv6"`
}

type bgpPeer struct {
	MyAddress   string `json:"my-address"`
	MyASN       string `json:"my-asn"`
	PeerAddress string `json:"peer-address"`
	PeerASN     string `json:"peer-asn"`
}

type nic struct {
	IPv4        nicV4  `json:"ipv4"`
	IPv6        nicV6  `json:"ipv6"`
	MAC         string `json:"mac"`
	MTU         string `json:"mtu,omitempty"`
	NetworkType string `json:"network-type"`
	NetworkV2ID string `json:"network-v2-id,omitempty"`
	NetworkID   string `json:"networkid,omitempty"`
}

type nicV4 struct {
	Additional []further `json:"additional"`
	Address    string    `json:"address"`
	Gateway    string    `json:"gateway"`
	Netmask    string    `json:"netmask"`
	Routes     []route   `json:"routes,omitempty"`
}

// further is an address beside the main one.
type further struct {
	Address string `json:"address"`
	Netmask string `json:"netmask"`
}

type route struct {
	Netmask int    `json:"netmask"`
	Network string `json:"network"`
}

type nicV6 struct {
	Additional []string `json:"additional"`
	Address    string   `json:"address,omitempty"`
	Network    string   `json:"network"`
	Prefix     string   `json:"prefix"`
}

type region struct {
	CountryCode string `json:"countrycode"`
	RegionCode  string `json:"regioncode"`
}

// documentOf says it in the platform's way.
func documentOf(doc simulator.MetadataDoc) document {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(doc.InstanceID)) // a hash never fails
	number := sum.Sum64()
	// The number of the first API version, which has no UUIDs.
	legacy := fmt.Sprint(40_000_000 + number%10_000_000)
	return document{
		Hostname: doc.Hostname, LocalHostname: doc.Hostname,
		InstanceV2ID: doc.InstanceV2ID, InstanceLegacy: legacy, InstanceID: legacy,
		Interfaces:   interfacesOf(doc),
		NvidiaDriver: []string{}, PublicKeys: orEmpty(doc.SSHKeys), Tags: orEmpty(doc.Tags), UserDefined: []string{},
		Region:   region{RegionCode: doc.RegionCode, CountryCode: countryOf[strings.ToLower(doc.Region)]},
		UserData: doc.UserData, StartupScript: doc.StartupScript,
	}
}

// interfacesOf are the public interface and one for each VPC. An instance without a public one has a single interface,
// whose address is left to DHCP.
func interfacesOf(doc simulator.MetadataDoc) []nic {
	var out []nic
	if doc.MainIP != "" || doc.MainIPv6 != "" {
		v6 := nicV6{Additional: []string{}, Address: doc.MainIPv6, Network: doc.NetworkV6}
		if doc.MainIPv6 != "" {
			v6.Prefix = "64"
		}
		out = append(out, nic{
			IPv4: nicV4{
				Additional: furtherOf(doc), Address: doc.MainIP, Gateway: doc.GatewayV4, Netmask: doc.NetmaskV4,
				Routes: []route{{Netmask: 32, Network: "169.254.169.254"}},
			},
			IPv6: v6, MAC: doc.MAC, NetworkType: "public",
		})
	}
	for _, p := range doc.Private {
		n := nic{
			IPv4: nicV4{Additional: []further{}, Address: p.Address, Netmask: p.Netmask},
			IPv6: nicV6{Additional: []string{}}, MAC: p.MAC, MTU: "1450", NetworkType: p.Type, NetworkV2ID: p.VPC,
			NetworkID: "net" + strings.ReplaceAll(p.VPC, "-", "")[:13],
		}
		out = append(out, n)
	}
	return out
}

func furtherOf(doc simulator.MetadataDoc) []further {
	out := []further{}
	for _, address := range doc.Additional {
		out = append(out, further{Address: address, Netmask: doc.NetmaskV4})
	}
	return out
}

// orEmpty makes the JSON an empty list, where nil would make it null.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

var countryOf = map[string]string{
	"ams": "NL", "atl": "US", "blr": "IN", "bom": "IN", "cdg": "FR", "del": "IN", "dfw": "US", "ewr": "US", "fra": "DE",
	"hnl": "US", "icn": "KR", "itm": "JP", "jnb": "ZA", "lax": "US", "lhr": "GB", "mad": "ES", "man": "GB", "mel": "AU",
	"mex": "MX", "mia": "US", "mxp": "IT", "nrt": "JP", "ord": "US", "sao": "BR", "scl": "CL", "sea": "US", "sgp": "SG",
	"sjc": "US", "sto": "SE", "syd": "AU", "tlv": "IL", "waw": "PL", "yto": "CA",
}
