// Package steps names some of a plan's steps, and looks for fewer of them that still show the same failure. It is for tests
// that carry out random plans.
package steps

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Parse reads "0-3,7", as Format writes it.
func Parse(text string) ([]int, error) {
	var all []int
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if err == nil && isRange {
			last, err = strconv.Atoi(to)
		}
		if err != nil {
			return nil, fmt.Errorf("steps %q: %w", part, err)
		}
		for i := first; i <= last; i++ {
			all = append(all, i)
		}
	}
	return all, nil
}

// Format writes steps as people and Parse read them: "0-3,7".
func Format(steps []int) string {
	var parts []string
	for i := 0; i < len(steps); {
		j := i
		for j+1 < len(steps) && steps[j+1] == steps[j]+1 {
			j++
		}
		part := strconv.Itoa(steps[i])
		if j > i {
			part += "-" + strconv.Itoa(steps[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// Shrink leaves out steps while the rest still fails: first many at a time, then fewer, then single ones. It ends when
// nothing can be left out, or when it is told to.
func Shrink(steps []int, fails func([]int) bool, enough func() bool) []int {
	for size := len(steps) / 2; size > 0; {
		left := false
		for from := 0; from < len(steps) && !enough(); {
			rest := slices.Concat(steps[:from], steps[min(from+size, len(steps)):])
			if fails(rest) {
				steps, left = rest, true
			} else {
				from += size
			}
		}
		if enough() {
			break
		}
		if !left {
			size /= 2
		}
		size = min(size, len(steps))
	}
	return steps
}
