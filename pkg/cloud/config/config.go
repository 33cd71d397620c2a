// Package config reads the file that --cloud-config names: a YAML document of a stated version. Every setting in it has a
// flag of the same meaning, so that there is one way in which values are checked, whichever way they come.
package config

import (
	"slices"
	"strings"
)

// What every file begins with. A later version of the format gets another APIVersion, and this one goes on being read.
const (
	APIVersion = "vultr.com/v1alpha1"
	Kind       = "CloudConfig"
)

// Type is what the value of a setting is.
type Type int

// The types of values.
const (
	Text Type = iota + 1
	// Switch is true or false.
	Switch
	// Number may have a fraction.
	Number
	// Duration is written as Go does: 5m, 1h30m.
	Duration
	// Pairs are names with values, each of which is one value of the flag, as name=value.
	Pairs
)

// Setting is one place in the file.
type Setting struct {
	// Path is where it stands: loadBalancers.region.
	Path string
	// Flag is the flag of the same meaning, without dashes.
	Flag string
	Type Type
}

var table = []Setting{
	{"api.keyFile", "vultr-api-key-file", Text},
	{"api.url", "vultr-api-url", Text},
	{"api.proxy", "vultr-api-proxy", Text},
	{"api.caFile", "vultr-api-ca-file", Text},
	{"api.metadataURL", "vultr-metadata-url", Text},
	{"nodes.fastRecovery", "fast-node-recovery", Switch},
	{"nodes.deletionLimit", "node-deletion-limit", Number},
	{"nodes.zoneFromRegion", "vultr-zone-from-region", Switch},
	{"nodes.vpc", "vultr-vpc", Text},
	{"nodes.addressFamilies", "vultr-address-families", Text},
	{"nodes.labels", "vultr-node-labels", Switch},
	{"nodes.instanceTag", "vultr-instance-tag", Text},
	{"nodes.scopeTag", "vultr-node-scope-tag", Text},
	{"nodes.scopeVPC", "vultr-node-scope-vpc", Text},
	{"nodes.scopeRegion", "vultr-node-scope-region", Text},
	{"loadBalancers.region", "vultr-region", Text},
	{"loadBalancers.driftPeriod", "vultr-drift-period", Duration},
	{"loadBalancers.driftRepair", "vultr-drift-repair", Switch},
	{"loadBalancers.classOnly", "vultr-load-balancer-class-only", Switch},
	{"loadBalancers.labelInStatus", "vultr-label-in-status", Switch},
	{"loadBalancers.kubeProxyPort", "vultr-kube-proxy-health-port", Number},
	{"loadBalancers.defaults", "vultr-load-balancer-default", Pairs},
	{"health.address", "vultr-health-address", Text},
}

// Settings returns all settings in the order of the documentation.
func Settings() []Setting { return slices.Clone(table) }

func lookup(path string) (Setting, bool) {
	i := slices.IndexFunc(table, func(s Setting) bool { return s.Path == path })
	if i < 0 {
		return Setting{}, false
	}
	return table[i], true
}

// isSection reports whether settings stand below the path.
func isSection(path string) bool {
	return slices.ContainsFunc(table, func(s Setting) bool { return strings.HasPrefix(s.Path, path+".") })
}

// suggest returns the path that was probably meant by one that is unknown: in another case, in another section, or by the name
// of the flag. It is "" if none was.
func suggest(path string) string {
	last := func(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
	for _, s := range table {
		if strings.EqualFold(s.Path, path) || strings.EqualFold(last(s.Path), last(path)) || s.Flag == strings.TrimLeft(last(path), "-") {
			return s.Path
		}
	}
	for _, s := range table {
		if section, _, _ := strings.Cut(s.Path, "."); strings.EqualFold(section, path) {
			return section
		}
	}
	return ""
}
