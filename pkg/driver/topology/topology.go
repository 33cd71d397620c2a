// Package topology chooses where a volume may be. The platform has regions and nothing below them.
package topology

import (
	"maps"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Key is the segment that this driver reports. Its value is the region in lower case. Volumes carry it in their
// node affinity, which cannot be changed: it must stay as it is.
const Key = "topology.block.csi.vultr.com/region"

// OfficialKey is the segment that the official driver reports, in upper case as the metadata service has it.
const OfficialKey = "region"

// understood are keys by which a request may name a region. The bare one is what the official driver reports.
var understood = []string{Key, OfficialKey, "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"}

// Segments is what a place in the region is called. Volumes get these and no others, whatever nodes report: their
// node affinity must hold on every node of the region.
func Segments(region string) map[string]string {
	return map[string]string{Key: strings.ToLower(region)}
}

// NodeSegments are the segments of a node in the region, with the official driver's if its value is not "". The
// official value is passed on exactly as it is: the kubelet compares it with the label that nodes have from there.
func NodeSegments(region, official string) map[string]string {
	segments := Segments(region)
	if official != "" {
		segments[OfficialKey] = official
	}
	return segments
}

// Region reads the region from segments, "" when none of the understood keys is there.
func Region(segments map[string]string) (string, error) {
	region, by := "", ""
	for _, key := range slices.Sorted(maps.Keys(segments)) {
		if !slices.ContainsFunc(understood, func(u string) bool { return strings.EqualFold(u, key) }) {
			continue
		}
		value := strings.ToLower(strings.TrimSpace(segments[key]))
		if value == "" {
			return "", volume.Errorf(volume.Invalid, "topology key %q has no value", key)
		}
		if region != "" && region != value {
			return "", volume.Errorf(volume.Invalid, "topology keys %q and %q name two regions, %q and %q", by, key, region, value)
		}
		region, by = value, key
	}
	return region, nil
}

// Choose lists the regions in which a volume may be, the best first: the preferred ones in their order, then the
// requisite ones. A request without any requirement gets the default region; one whose requirements name no
// region at all is Invalid.
func Choose(preferred, requisite []map[string]string, defaultRegion string) ([]string, error) {
	if len(preferred)+len(requisite) == 0 {
		if defaultRegion == "" {
			return nil, volume.Errorf(volume.Invalid, "the request names no region, and the driver has no default region (flag --region)")
		}
		return []string{strings.ToLower(defaultRegion)}, nil
	}
	var regions []string
	for _, segments := range slices.Concat(preferred, requisite) {
		region, err := Region(segments)
		if err != nil {
			return nil, err
		}
		if region != "" && !slices.Contains(regions, region) {
			regions = append(regions, region)
		}
	}
	if len(regions) == 0 {
		return nil, volume.Errorf(volume.Invalid, "no topology requirement carries the key %q", Key)
	}
	return regions, nil
}
