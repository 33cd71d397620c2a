package instances

import (
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestZoneOnlyByOption(t *testing.T) {
	instance := vultr.Instance{ID: "x", Region: "EWR", MainIP: "192.0.2.1"}
	if md := metadata(instance, addresses.Addresses{}, Options{}); md.Zone != "" || md.Region != "ewr" || md.AdditionalLabels != nil {
		t.Errorf("%+v", md)
	}
	if md := metadata(instance, addresses.Addresses{}, Options{ZoneFromRegion: true}); md.Zone != "ewr" {
		t.Errorf("%+v", md)
	}
}
