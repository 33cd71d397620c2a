package blockstore

import (
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestImpossibleRanges: a range that nothing can lie in is called so, rather than too small for what is sold.
func TestImpossibleRanges(t *testing.T) {
	for words, c := range map[string]volume.Capacity{
		"required -1, limit 0":                      {Required: -1},
		"required 0, limit -1":                      {Limit: -1},
		"limit of 9 bytes is below the required 10": {Required: 10, Limit: 9},
	} {
		for name, judge := range map[string]func() (int64, error){
			"a new one": func() (int64, error) { return roundUp(volume.NVMe, c) },
			"growth":    func() (int64, error) { return grow(volume.NVMe, 10, c) },
		} {
			if _, err := judge(); volume.ReasonOf(err) != volume.OutOfRange || !strings.Contains(err.Error(), words) {
				t.Errorf("%s in %+v: got %v", name, c, err)
			}
		}
	}
}
