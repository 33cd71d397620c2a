package volume

import "testing"

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
