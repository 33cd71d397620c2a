package instances

import (
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Scope is where the instances of new Nodes are looked for; an empty part of it leaves nothing out. It decides about that alone: an
// instance outside of it is there all the same, and so is its Node.
type Scope struct {
	// Tag is one that they have, VPC the ID of a network that they are in.
	Tag, VPC string
	// Region is where they are.
	Region string
}

// String names the parts.
func (s Scope) String() string {
	var parts []string
	for _, part := range [][2]string{{"tag", s.Tag}, {"VPC", s.VPC}, {"region", s.Region}} {
		if part[1] != "" {
			parts = append(parts, part[0]+" "+part[1])
		}
	}
	return strings.Join(parts, ", ")
}

// filter returns the instances within the scope.
func (s Scope) filter(list []vultr.Instance) []vultr.Instance {
	if s == (Scope{}) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(in vultr.Instance) bool {
		isVPC := func(id string) bool { return strings.EqualFold(id, s.VPC) }
		return s.Tag != "" && !slices.Contains(in.Tags, s.Tag) || s.VPC != "" && !slices.ContainsFunc(in.VPCs, isVPC) ||
			s.Region != "" && !strings.EqualFold(in.Region, s.Region)
	})
}
