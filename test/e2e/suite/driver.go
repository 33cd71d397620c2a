package suite

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"sigs.k8s.io/yaml"
)

// driver is as much of a driver's definition (test/e2e/storage/external in Kubernetes) as is used here. The suite ignores
// what it does not know, so that a typing mistake would silently leave out tests.
type driver struct {
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

// capability is how the suite's source declares one.
var capability = regexp.MustCompile(`(?m)^\s+Cap\w+\s+Capability = "(\w+)"`)

// checkDriver holds a driver's definition against the source of the suite: it has to say of each capability whether the driver
// has it.
func checkDriver(name string, content []byte, source string) error {
	var d driver
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
