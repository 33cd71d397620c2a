package instances

import (
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestZoneOnlyByOption(t *testing.T) {
	instance := vultr.Instance{ID: "x", Region: "EWR", MainIP: "192.0.2.1"}
	if md := metadata(instance, nil, false); md.Zone != "" || md.Region != "ewr" {
		t.Errorf("%+v", md)
	}
	if md := metadata(instance, nil, true); md.Zone != "ewr" {
		t.Errorf("%+v", md)
	}
}
