package settings

import (
	"cmp"
	"slices"
)

// first is the release that introduced the settings of the official controller.
const first = "v0.1.0"

// table has all settings in the order of the documentation. Each theme has a file of its own for its keys and rows.
var table = documented(slices.Concat(portSettings, tlsSettings, trafficSettings, healthSettings, accessSettings, networkSettings, lifeSettings))

// documented puts the settings of the themes into the order of the documentation: first what users set, then what
// administrators do, then what has no effect.
func documented(settings []Setting) []Setting {
	rank := map[Support]int{Supported: 0, OnNamespace: 1, Obsolete: 2}
	slices.SortStableFunc(settings, func(a, b Setting) int { return cmp.Compare(rank[a.Support], rank[b.Support]) })
	return settings
}
