package guest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestToolsAreThoseOfTheNodeImage: the guest proves the tools that nodes get.
func TestToolsAreThoseOfTheNodeImage(t *testing.T) {
	makefile, err := os.ReadFile("../../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^NODE_PACKAGES := (.*)$`).FindSubmatch(makefile)
	if len(match) != 2 || string(match[1]) != strings.Join(toolPackages, " ") {
		t.Errorf("the Makefile's NODE_PACKAGES are %q, the guest has %q", match, toolPackages)
	}
}
