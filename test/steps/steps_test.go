package steps_test

import (
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/steps"
)

// TestShrink: of many steps those are left with which it still fails.
func TestShrink(t *testing.T) {
	t.Parallel()
	all, tries := make([]int, 100), 0
	for i := range all {
		all[i] = i
	}
	left := steps.Shrink(all, func(rest []int) bool {
		tries++
		return slices.Contains(rest, 17) && slices.Contains(rest, 60) && slices.Contains(rest, 61)
	}, func() bool { return false })
	if got := steps.Format(left); got != "17,60-61" || tries > 200 {
		t.Errorf("left are %s after %d tries", got, tries)
	}
	if again, err := steps.Parse("17,60-61"); err != nil || !slices.Equal(again, left) {
		t.Errorf("read are %v, %v", again, err)
	}
	if _, err := steps.Parse("1,x"); err == nil {
		t.Error("x is a step")
	}
}
