package notices

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// agreed are the licences, by their SPDX identifiers, under which something may be in what this project publishes: all of them let it be
// passed on with their text alone. MPL-2.0 asks for the sources of the files that are under it, which are published where its module is.
var agreed = []string{
	"0BSD", "Apache-2.0", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "Unlicense", "Zlib",
}

// enough is how much of a text has to be known, in percent: the rest is names of authors and headings.
const enough = 75

// judge returns the licences that a text has, or an error if one of them is not agreed to, or most of the text is none that is known.
func judge(t text) ([]string, error) {
	found := licensecheck.Scan([]byte(t.content))
	var ids []string
	for _, match := range found.Match {
		if !match.IsURL && !slices.Contains(ids, match.ID) {
			ids = append(ids, match.ID)
		}
	}
	slices.Sort(ids)
	switch {
	case len(ids) == 0:
		return nil, fmt.Errorf("%s: no known licence", t.file)
	case found.Percent < enough:
		return nil, fmt.Errorf("%s: only %.0f %% of it is a known licence (%s)", t.file, found.Percent, strings.Join(ids, ", "))
	}
	for _, id := range ids {
		if !slices.Contains(agreed, id) {
			return nil, fmt.Errorf("%s: nobody has agreed to licence %s", t.file, id)
		}
	}
	return ids, nil
}
