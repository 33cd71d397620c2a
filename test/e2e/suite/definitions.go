package suite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// definition says which tests of the suite are meant, and how the suite is to run them.
type definition struct {
	name string
	// focus is a regular expression of the full names of its tests.
	focus string
	// tests are those of which it consists. Each matches at least one test of the suite.
	tests []*regexp.Regexp
	// prefix begins all of these names and goes without saying.
	prefix string
	// arguments are those of the suite.
	arguments []string
	// parallel is how many tests run side by side unless somebody says otherwise; 0 if that does not matter.
	parallel int
}

// selection is a definition that names tests of the suite. They need to know nothing of a driver.
type selection struct {
	// Tests are regular expressions of the tests' full names.
	Tests []string
	// Provider is what the suite calls the cloud.
	Provider string
	// Parallel is how many tests run side by side unless somebody says otherwise.
	Parallel int
}

// What makes a file a definition: a driver's, or one of tests that need none. The classes that definitions name, and the lists of
// tests, are none.
var (
	isDriver    = regexp.MustCompile(`(?m)^DriverInfo:$`)
	isSelection = regexp.MustCompile(`(?m)^Tests:$`)
)

// Definitions lists the definitions of a directory.
func Definitions(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		content, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return nil, err
		}
		if isDriver.Match(content) || isSelection.Match(content) {
			names = append(names, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		}
	}
	return names, nil
}

// readDefinition reads a definition and holds it against the source of the suite.
func readDefinition(dir, name, source string) (*definition, error) {
	file := filepath.Join(dir, name+".yaml")
	content, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	if isSelection.Match(content) {
		return ofSelection(name, content)
	}
	if err := checkDriver(name, content, source); err != nil {
		return nil, err
	}
	return ofDriver(name, file), nil
}

// external is how the names of tests of a driver's definition begin.
const external = "External Storage "

// ofDriver is the definition of a driver: the suite makes the tests out of the file.
func ofDriver(name, file string) *definition {
	return &definition{
		name: name, focus: external, tests: []*regexp.Regexp{regexp.MustCompile(external)}, prefix: external,
		arguments: []string{"-storage.testdriver=" + file},
	}
}

// ofSelection reads the definition of tests that need no driver.
func ofSelection(name string, content []byte) (*definition, error) {
	var s selection
	if err := yaml.UnmarshalStrict(content, &s); err != nil {
		return nil, fmt.Errorf("%s.yaml: %w", name, err)
	}
	var faults []error
	if len(s.Tests) == 0 {
		faults = append(faults, fmt.Errorf("%s.yaml names no test", name))
	}
	if s.Provider == "" {
		faults = append(faults, fmt.Errorf("%s.yaml does not say what the suite calls the cloud (Provider)", name))
	}
	if s.Parallel < 0 {
		faults = append(faults, fmt.Errorf("%s.yaml: %d tests cannot run side by side", name, s.Parallel))
	}
	d := &definition{
		name: name, focus: "(" + strings.Join(s.Tests, "|") + ")",
		arguments: []string{"-provider=" + s.Provider}, parallel: s.Parallel,
	}
	for _, tests := range s.Tests {
		pattern, err := regexp.Compile(tests)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s.yaml: %w", name, err))
			continue
		}
		d.tests = append(d.tests, pattern)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return d, nil
}

// has reports whether a test is one of the definition.
func (d *definition) has(fullName string) bool {
	return slices.ContainsFunc(d.tests, func(tests *regexp.Regexp) bool { return tests.MatchString(fullName) })
}
