package instances

import (
	"regexp"
	"strings"

	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// metadata translates an instance and the addresses of its Node into what Kubernetes wants to know of it.
func metadata(instance vultr.Instance, own addresses.Addresses, options Options) *cloudprovider.InstanceMetadata {
	region := strings.ToLower(instance.Region)
	md := &cloudprovider.InstanceMetadata{
		ProviderID:    providerid.Format(instance.ID),
		InstanceType:  LabelValue(instance.Plan),
		NodeAddresses: own.List,
		Region:        LabelValue(region),
	}
	if options.ZoneFromRegion {
		md.Zone = md.Region
	}
	if options.Label != nil {
		md.AdditionalLabels = labelsOf(instance, own.VPC)
	}
	return md
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
