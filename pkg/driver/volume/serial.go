package volume

import (
	"regexp"
	"strings"
)

// serialForm is the form of the serials that the platform gives to block volumes: the region, and the first 14
// hexadecimal digits of the volume's ID, so that the whole fits in the 20 characters that a virtio disk can carry.
var serialForm = regexp.MustCompile(`^[a-z0-9]+-([0-9a-f]{14})$`)

// SerialIsOf reports whether a serial is certainly that of the volume's disk: it has the platform's form, and the volume's
// digits. Other than for SerialMatches, a form that nobody knows is no proof.
func SerialIsOf(id, serial string) bool {
	return IsSerial(serial) && SerialMatches(id, serial)
}

// SerialMatches reports whether a serial can be that of the volume. One in the platform's form belongs to the volume
// whose ID begins with its digits; another form proves nothing and matches.
func SerialMatches(id, serial string) bool {
	form := serialForm.FindStringSubmatch(strings.ToLower(serial))
	return len(form) != 2 || strings.HasPrefix(strings.ToLower(strings.ReplaceAll(id, "-", "")), form[1])
}

// IsSerial reports whether a serial has the form of those that the platform gives to block volumes.
func IsSerial(serial string) bool { return serialForm.MatchString(strings.ToLower(serial)) }
