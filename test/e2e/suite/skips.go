package suite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"sigs.k8s.io/yaml"
)

// Skip is an entry of the list of tests that are not run.
type Skip struct {
	// Tests is a regular expression of the tests' full names.
	Tests string `json:"tests"`
	// Definitions are those for which it holds; all when empty.
	Definitions []string `json:"definitions,omitempty"`
	// OnlyIf is a condition of the machine; the tests run where it does not hold.
	OnlyIf string `json:"onlyIf,omitempty"`
	// Reason is why they are not run, and Instead what shows the same.
	Reason  string `json:"reason"`
	Instead string `json:"instead,omitempty"`

	pattern *regexp.Regexp
}

// Conditions says of each condition that an entry can name whether it holds here.
type Conditions map[string]bool

// skipsFile is the list's name beside the definitions.
const skipsFile = "skips.yaml"

// readSkips reads the list of a directory.
func readSkips(dir string) ([]Skip, error) {
	file := filepath.Join(dir, skipsFile)
	content, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	var skips []Skip
	if err := yaml.UnmarshalStrict(content, &skips); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var faults []error
	for i := range skips {
		if err := skips[i].check(); err != nil {
			faults = append(faults, fmt.Errorf("%s: entry %d: %w", file, i+1, err))
		}
	}
	return skips, errors.Join(faults...)
}

// check reports what an entry lacks.
func (s *Skip) check() error {
	if s.Tests == "" || s.Reason == "" {
		return errors.New("tests and reason have to be there")
	}
	var err error
	s.pattern, err = regexp.Compile(s.Tests)
	return err
}

// skipsOf are the entries that hold for a definition under the machine's conditions.
func skipsOf(skips []Skip, definition string, conditions Conditions) ([]Skip, error) {
	var found []Skip
	for _, s := range skips {
		if len(s.Definitions) > 0 && !slices.Contains(s.Definitions, definition) {
			continue
		}
		if s.OnlyIf != "" {
			holds, known := conditions[s.OnlyIf]
			if !known {
				return nil, fmt.Errorf("%s: nothing is known of the condition %q", skipsFile, s.OnlyIf)
			}
			if !holds {
				continue
			}
		}
		found = append(found, s)
	}
	return found, nil
}
