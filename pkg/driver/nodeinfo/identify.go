// Package nodeinfo finds out what the node plugin tells the kubelet of its node: which instance it is, in which region,
// and how many volumes it can have. It asks the metadata service, the Node object and the flags, and the machine itself.
package nodeinfo

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

var (
	// ErrUnknown says that no source has told yet which instance this is, or in which region.
	ErrUnknown = errors.New("not known yet")
	// ErrContradiction says that two sources name different instances or regions. Somebody has to act.
	ErrContradiction = errors.New("contradiction")
)

// Identity is which instance the node is, and where.
type Identity struct {
	ID     string
	Region string // lower case
	// OfficialRegion is what the official driver reports as the region, "" if that is not to be reported.
	OfficialRegion string
}

// claims are what the sources say.
type claims struct {
	// flagID and flagRegion are what the process is told, "" if nothing.
	flagID, flagRegion string
	// metadata is nil until the service has answered, and silent is set when it is no longer waited for.
	metadata *vultr.InstanceMetadata
	silent   bool
	// node is nil until the Node object was read, and always nil outside of a cluster.
	node *node
}

// claim is what one source says.
type claim struct{ source, value string }

// identify decides by the metadata service, then the Node's provider ID, then the flag. What is known has to agree: a flag
// is the same for all nodes of a DaemonSet, and a provider ID may be that of a machine which had the name before, so
// neither is believed against the machine's own word. The official driver's region is in the metadata alone.
func identify(c claims, needID, official bool) (Identity, error) {
	if !needID {
		return c.ofController()
	}
	if c.metadata == nil && !c.silent {
		return Identity{}, fmt.Errorf("%w: the metadata service has not answered", ErrUnknown)
	}
	id, idFault := agreed("instance", c.ids())
	region, regionFault := agreed("region", c.regions())
	if err := errors.Join(idFault, regionFault); err != nil {
		return Identity{}, err
	}
	if region == "" {
		// The last resort, and no contradiction of others: administrators have regions of their own.
		region = c.label(wellKnownRegion)
	}
	switch {
	case id == "":
		return Identity{}, fmt.Errorf("%w: which instance this is; the metadata service does not answer, %s, and --node-id is not set", ErrUnknown, c.node.about())
	case region == "":
		return Identity{}, c.noRegion()
	case official && c.metadata == nil:
		return Identity{}, fmt.Errorf("%w: how the metadata service spells the region, which --report-official-region needs; it does not answer", ErrUnknown)
	}
	i := Identity{ID: id, Region: region}
	if official {
		i.OfficialRegion = c.metadata.RegionCode
	}
	return i, nil
}

// ofController decides for a controller, which needs a region only: that of volumes for which nobody names one. Sources need
// not agree for that, so the first one that says something is believed: the flag, by which an administrator chooses; the
// label that the node plugin's registration left on the Node; the metadata service, which a pod may not reach; and the
// label of administrators' own regions. The instance is that of the metadata service, never that of a provider ID: it is
// to prove whose account the key is of.
func (c claims) ofController() (Identity, error) {
	i := Identity{ID: strings.ToLower(c.flagID), Region: c.flagRegion}
	if c.metadata != nil {
		i.ID = strings.ToLower(c.metadata.InstanceID)
	}
	if i.Region == "" {
		i.Region = c.label(topology.Key)
	}
	switch {
	case i.Region != "":
	case c.metadata == nil && !c.silent:
		return Identity{}, fmt.Errorf("%w: the metadata service has not answered", ErrUnknown)
	case c.metadata != nil && c.metadata.Region != "":
		i.Region = strings.ToLower(c.metadata.Region)
	default:
		i.Region = c.label(wellKnownRegion)
	}
	if i.Region == "" {
		return Identity{}, c.noRegion()
	}
	return i, nil
}

// label returns the value of the Node's label in lower case, "" if there is none or the Node could not be read.
func (c claims) label(key string) string {
	if c.node == nil {
		return ""
	}
	return strings.ToLower(c.node.Metadata.Labels[key])
}

// noRegion says what was tried to learn the region.
func (c claims) noRegion() error {
	node := "the Node cannot be read"
	if c.node != nil {
		node = "the Node has no label " + topology.Key + " or " + wellKnownRegion
	}
	return fmt.Errorf("%w: which region this is; the metadata service does not answer, %s, and --region is not set", ErrUnknown, node)
}

func (c claims) ids() []claim {
	var all []claim
	if c.metadata != nil {
		all = append(all, claim{"the metadata service", c.metadata.InstanceID})
	}
	if c.node != nil {
		id, _ := c.node.instanceID() //nolint:errcheck // a malformed provider ID names nothing; about says so
		all = append(all, claim{"the provider ID of the Node", id})
	}
	return append(all, claim{"--node-id", c.flagID})
}

func (c claims) regions() []claim {
	all := []claim{{"--region", c.flagRegion}}
	if c.node != nil {
		// The kubelet put it there when the driver was registered, and will refuse any other value.
		all = append(all, claim{"the label " + topology.Key + " of the Node", c.label(topology.Key)})
	}
	if c.metadata != nil {
		all = append(all, claim{"the metadata service", c.metadata.Region})
	}
	return all
}

// agreed returns what the claims say, "" if none says anything.
func agreed(what string, all []claim) (string, error) {
	var first claim
	for _, c := range all {
		c.value = strings.ToLower(c.value)
		switch {
		case c.value == "":
		case first.value == "":
			first = c
		case c.value != first.value:
			return "", volume.Errorf(volume.InUse, "%w: the %s of this node is %s by %s, and %s by %s; it gets no volumes until they agree: correct what is wrong, or drain and delete a Node that another machine has left",
				ErrContradiction, what, first.value, first.source, c.value, c.source)
		}
	}
	return first.value, nil
}
