package volume

import (
	"strings"
	"testing"
)

func TestSerialMatches(t *testing.T) {
	const id = "AE6C4452-b93b-4f4d-b8c1-2cea28d99fb8"
	for serial, want := range map[string]bool{
		"ewr-ae6c4452b93b4f":   true,
		"EWR-AE6C4452B93B4F":   true,
		"ewr-be6c4452b93b4f":   false,
		"ewr-ae6c4452b93b40":   false,
		"something-else":       true,
		"ewr-ae6c4452b93b4f4d": true, // not the platform's form
	} {
		if got := SerialMatches(id, serial); got != want {
			t.Errorf("SerialMatches(%q) = %t", serial, got)
		}
	}
}

// TestSerialIsOf: what has another form is nobody's.
func TestSerialIsOf(t *testing.T) {
	const id = "AE6C4452-b93b-4f4d-b8c1-2cea28d99fb8"
	for serial, want := range map[string]bool{
		"ewr-ae6c4452b93b4f": true, "EWR-AE6C4452B93B4F": true, "ewr-be6c4452b93b4f": false, "something-else": false, "": false,
		"ewr-ae6c4452b93b4f4d": false,
	} {
		if got := SerialIsOf(id, serial); got != want {
			t.Errorf("SerialIsOf(%q) = %t", serial, got)
		}
	}
}

// FuzzSerials: a serial that is certainly of one volume is of no other whose ID differs in the digits that it shows, in
// whatever case they are written. What has another form is certainly nobody's, and keeps nobody from its disk.
func FuzzSerials(f *testing.F) {
	const id, other = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8", "ae6c4452-b93b-4f4e-b8c1-2cea28d99fb8"
	for _, serial := range []string{"", "ewr-ae6c4452b93b4f", "EWR-AE6C4452B93B4F", "ewr-ae6c4452b93b4f4d", "ewr-", "-ae6c4452b93b4f", "ewr-ae6c4452b93b4f\n"} {
		f.Add(id, other, serial)
	}
	digits := func(id string) string { return strings.ToLower(strings.ReplaceAll(id, "-", "")) }
	f.Fuzz(func(t *testing.T, id, other, serial string) {
		if !ValidID(id) || !ValidID(other) {
			return
		}
		certain := SerialIsOf(id, serial)
		if certain != (IsSerial(serial) && SerialMatches(id, serial)) || !IsSerial(serial) && !SerialMatches(id, serial) {
			t.Errorf("%q is certainly of %s: %t", serial, id, certain)
		}
		low, capitals := strings.ToLower, strings.ToUpper(serial) // there are letters that are no longer the same in capitals
		if low(capitals) == low(serial) && certain != SerialIsOf(strings.ToUpper(id), capitals) {
			t.Errorf("in capitals %q is of another volume than %s", serial, id)
		}
		shown := len("ae6c4452b93b4f")
		if certain && SerialIsOf(other, serial) != (digits(id)[:shown] == digits(other)[:shown]) {
			t.Errorf("%q is certainly of %s, and of %s: %t", serial, id, other, SerialIsOf(other, serial))
		}
		if certain && !strings.HasSuffix(strings.ToLower(serial), "-"+digits(id)[:shown]) {
			t.Errorf("%q is certainly of %s", serial, id)
		}
	})
}
