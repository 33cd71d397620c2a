package blockstage

import (
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestFaults: what e2fsck repairs without losing anything is repaired and mounted; what takes a person's decision is
// refused, with the commands, and left as it is.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		harm    []string // commands of debugfs
		refused bool
	}{
		"none":                  {nil, false},
		"wrong counts":          {[]string{"ssv free_blocks_count 5", "ssv state 0"}, false},
		"no root directory":     {[]string{"clri <2>", "ssv state 2"}, true},
		"no root, marked clean": {[]string{"clri <2>"}, true}, // which only the kernel notices
	} {
		t.Run(name, func(t *testing.T) {
			g := newStage(t, "ext4")
			run(t, "mkfs.ext4", "-q", g.device.Path)
			for _, command := range c.harm {
				run(t, "debugfs", "-w", "-R", command, g.device.Path)
			}
			err := g.Stage(t.Context(), g.volume, g.path)
			if _, mounted := g.mounted(); mounted == c.refused || (err != nil) != c.refused {
				t.Fatalf("mounted: %t, %v", mounted, err)
			}
			if c.refused && len(c.harm) > 1 && (volume.ReasonOf(err) != volume.InUse || !strings.Contains(err.Error(), "e2fsck -fn "+g.device.Path)) {
				t.Errorf("got %v", err)
			}
		})
	}
}
