package suite

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// shortFile is the name of the list of tests that are run where there is no time for all, beside the definitions.
const shortFile = "short.yaml"

// Short lists which tests stand for all of them: for each definition regular expressions of their names.
type Short map[string][]string

// ReadShort reads the list of a directory.
func ReadShort(dir string) (Short, error) {
	file := filepath.Join(dir, shortFile)
	content, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	var short Short
	if err := yaml.UnmarshalStrict(content, &short); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var faults []error
	for _, definition := range short.Definitions() {
		if len(short[definition]) == 0 {
			faults = append(faults, fmt.Errorf("%s: no test is named for %s", file, definition))
		}
		for _, tests := range short[definition] {
			if _, err := regexp.Compile(tests); err != nil {
				faults = append(faults, fmt.Errorf("%s: %s: %w", file, definition, err))
			}
		}
	}
	if len(short) == 0 {
		faults = append(faults, fmt.Errorf("%s: no test is named", file))
	}
	return short, errors.Join(faults...)
}

// Definitions lists those of which tests are named.
func (s Short) Definitions() []string { return slices.Sorted(maps.Keys(s)) }

// Focus is the Focus of a Run that runs the tests that are named for a definition.
func (s Short) Focus(definition string) string { return strings.Join(s[definition], "|") }

// Check reports what is named and did not pass: a test that is no longer called so, or is skipped, would go unnoticed.
func (s Short) Check(r *Result) error {
	var faults []error
	for _, tests := range s[r.Definition] {
		pattern, err := regexp.Compile(tests)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(r.tests, func(t test) bool { return t.state == passed && pattern.MatchString(t.name) }) {
			faults = append(faults, fmt.Errorf("%s: no test passed that %q of %s names", r.Definition, tests, shortFile))
		}
	}
	return errors.Join(faults...)
}
