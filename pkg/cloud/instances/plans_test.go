package instances_test

import (
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
)

// The plans that the platform has are label values as they are: whoever selects nodes by one writes what the platform calls it.
func TestLabelValueOfThePlatformsPlans(t *testing.T) {
	text, err := os.ReadFile("testdata/plans.txt")
	if err != nil {
		t.Fatal(err)
	}
	plans := 0
	for line := range strings.Lines(string(text)) {
		plan := strings.TrimSpace(line)
		if plan == "" || strings.HasPrefix(plan, "#") {
			continue
		}
		plans++
		if got := instances.LabelValue(plan); got != plan || len(validation.IsValidLabelValue(got)) > 0 {
			t.Errorf("%q became %q", plan, got)
		}
	}
	if plans < 200 {
		t.Errorf("only %d plans were read", plans)
	}
}
