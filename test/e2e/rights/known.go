package rights

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"sigs.k8s.io/yaml"
)

// Known is a reason why rights are there that nobody has used.
type Known struct {
	Reason string `json:"reason"`
	// Rights are those that it holds for, by the names that grants have.
	Rights []string `json:"rights,omitempty"`
	// Verbs and Beside are a rule instead: it holds for these verbs where the same role grants the verb Beside for the same objects, and
	// that one is used.
	Verbs  []string `json:"verbs,omitempty"`
	Beside string   `json:"beside,omitempty"`
}

// ReadKnown reads the list of a file.
func ReadKnown(file string) ([]Known, error) {
	content, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	var known []Known
	if err := yaml.UnmarshalStrict(content, &known); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var faults []error
	for i, k := range known {
		if named, ruled := len(k.Rights) > 0, len(k.Verbs) > 0 && k.Beside != ""; k.Reason == "" || named == ruled {
			faults = append(faults, fmt.Errorf("%s: entry %d: a reason has to be there, and either rights or verbs with what they are beside", file, i+1))
		}
	}
	return known, errors.Join(faults...)
}

// Judge compares what nobody has used with the list. What the list lacks is an error, and so is a right in it that no role grants.
// The notes name rights in it that were used this time.
func Judge(grants, unused []Grant, known []Known) (notes []string, err error) {
	var faults []error
	for _, g := range unused {
		if !slices.ContainsFunc(known, func(k Known) bool { return k.explains(g, grants, unused) }) {
			faults = append(faults, fmt.Errorf("%s: nobody has used it, and no reason is known why it is there", g))
		}
	}
	for _, k := range known {
		for _, name := range k.Rights {
			is := func(g Grant) bool { return g.String() == name }
			switch {
			case !slices.ContainsFunc(grants, is):
				faults = append(faults, fmt.Errorf("%s: a reason is known why nobody uses it, but no role grants it", name))
			case !slices.ContainsFunc(unused, is):
				notes = append(notes, name)
			}
		}
	}
	return notes, errors.Join(faults...)
}

// explains reports whether the entry says why a grant is there that is not used.
func (k Known) explains(g Grant, grants, unused []Grant) bool {
	if slices.Contains(k.Rights, g.String()) {
		return true
	}
	if !slices.Contains(k.Verbs, g.Verb) {
		return false
	}
	beside := func(other Grant) bool {
		return other.Verb == k.Beside && other.Role == g.Role && other.User == g.User && other.Namespace == g.Namespace &&
			other.Group == g.Group && other.Resource == g.Resource && slices.Equal(other.Names, g.Names)
	}
	return slices.ContainsFunc(grants, beside) && !slices.ContainsFunc(unused, beside)
}
