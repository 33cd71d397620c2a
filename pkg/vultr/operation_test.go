package vultr

import (
	"strings"
	"testing"
)

func TestIsID(t *testing.T) {
	for text, want := range map[string]bool{
		idA: true, strings.ToUpper(idA): true, "01234567-89ab-cdef-ABCD-EF0123456789": true,
		"": false, "a": false, idA[1:]: false, idA + "0": false, " " + idA[1:]: false,
		strings.Replace(idA, "-", "0", 1): false, strings.ReplaceAll(idA, "-", ""): false, "-" + idA[1:]: false,
		strings.Replace(idA, "a", "g", 1): false, strings.Replace(idA, "a", "/", 1): false, strings.Replace(idA, "a", ":", 1): false,
		strings.Replace(idA, "a", "@", 1): false, strings.Replace(idA, "a", "`", 1): false, strings.Replace(idA, "a", "G", 1): false,
		strings.Replace(idA, "aa", "é", 1): false, idA[:35] + "\n": false,
	} {
		if got := IsID(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
