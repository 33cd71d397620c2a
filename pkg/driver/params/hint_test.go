package params

import "testing"

// TestDistance: letters that are missing, that are too many and that are wrong count alike, in both directions.
func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"fstype", "fstype", 0},
		{"", "abc", 3},
		{"disktype", "diskstype", 1},
		{"fstyp", "fstype", 1},
		{"stype", "fstype", 1},
		{"fstypo", "fstype", 1},
		{"kitten", "sitting", 3},
		{"abc", "xyz", 3},
	} {
		if there, back := distance(c.a, c.b), distance(c.b, c.a); there != c.want || back != c.want {
			t.Errorf("from %q to %q: %d, and back %d, want %d", c.a, c.b, there, back, c.want)
		}
	}
}
