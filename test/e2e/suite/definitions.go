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

// definition is as much of a driver's definition (test/e2e/storage/external in Kubernetes) as is used here. The suite ignores
// what it does not know, so that a typing mistake would silently leave out tests.
type definition struct {
	StorageClass, SnapshotClass, VolumeAttributesClass struct{ FromExistingClassName, FromFile string }

	DriverInfo struct {
		Name                                  string
		SupportedSizeRange                    struct{ Min, Max string }
		SupportedFsType, SupportedMountOption map[string]struct{}
		RequiredAccessModes, TopologyKeys     []string
		MaxFileSize                           int64
		Capabilities                          map[string]bool
		StressTestOptions                     struct{ NumPods, NumRestarts int }
		VolumeSnapshotStressTestOptions       struct{ NumPods, NumSnapshots int }
		VolumeModifyStressTestOptions         struct{ NumPods int }
	}
}

// isDefinition is what makes a file a driver's definition. The classes that definitions name, and the list of skips, are none.
var isDefinition = regexp.MustCompile(`(?m)^DriverInfo:$`)

// Definitions lists the drivers' definitions of a directory.
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
		if isDefinition.Match(content) {
			names = append(names, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		}
	}
	return names, nil
}

// capability is how the suite's source declares one.
var capability = regexp.MustCompile(`(?m)^\s+Cap\w+\s+Capability = "(\w+)"`)

// Check holds a definition against the source of the suite: it has to say of each capability whether the driver has it.
func Check(dir, name, source string) error {
	content, err := os.ReadFile(filepath.Join(dir, name+".yaml"))
	if err != nil {
		return err
	}
	var d definition
	if err := yaml.UnmarshalStrict(content, &d); err != nil {
		return fmt.Errorf("%s.yaml: %w", name, err)
	}
	declared, err := os.ReadFile(filepath.Join(source, "test", "e2e", "storage", "framework", "testdriver.go"))
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, match := range capability.FindAllSubmatch(declared, -1) {
		known[string(match[1])] = true
	}
	var faults []error
	for _, c := range slices.Sorted(maps.Keys(known)) {
		if _, said := d.DriverInfo.Capabilities[c]; !said {
			faults = append(faults, fmt.Errorf("%s.yaml does not say whether the driver has the capability %s", name, c))
		}
	}
	for _, c := range slices.Sorted(maps.Keys(d.DriverInfo.Capabilities)) {
		if !known[c] {
			faults = append(faults, fmt.Errorf("%s.yaml: the suite knows no capability %s", name, c))
		}
	}
	return errors.Join(faults...)
}
