package controller

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestAccesses: capabilities are translated as they are, and what they lack is named for each of them.
func TestAccesses(t *testing.T) {
	mode := func(m csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability_AccessMode {
		return &csi.VolumeCapability_AccessMode{Mode: m}
	}
	writer := mode(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER)
	mounted := &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "xfs", MountFlags: []string{"noatime"}}}
	block := &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	all, err := accessesOf([]*csi.VolumeCapability{
		{AccessMode: writer, AccessType: mounted}, {AccessMode: writer, AccessType: block},
	})
	if err != nil || len(all) != 2 {
		t.Fatalf("got %+v, %v", all, err)
	}
	if a := all[0]; a.Block || a.FSType != "xfs" || len(a.Options) != 1 || a.Options[0] != "noatime" || a.Mode != volume.SingleNodeWriter {
		t.Errorf("the mounted one is %+v", a)
	}
	if a := all[1]; !a.Block || a.FSType != "" || len(a.Options) != 0 || a.Mode != volume.SingleNodeWriter {
		t.Errorf("the raw one is %+v", a)
	}

	_, err = accessesOf([]*csi.VolumeCapability{
		nil, {AccessType: mounted}, {AccessMode: mode(4711), AccessType: mounted}, {AccessMode: writer}, {AccessMode: writer, AccessType: block},
	})
	if volume.ReasonOf(err) != volume.Invalid {
		t.Fatalf("got %v", err)
	}
	for _, words := range []string{"1: it is missing", "2: its access mode is missing", "3: access mode 4711 is unknown", "4: it asks neither"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%q does not say %q", err, words)
		}
	}
	if strings.Contains(err.Error(), "capability 5") {
		t.Errorf("%q blames what is right", err)
	}
	if _, err := accessesOf(nil); volume.ReasonOf(err) != volume.Invalid {
		t.Errorf("no capability at all: %v", err)
	}
}
