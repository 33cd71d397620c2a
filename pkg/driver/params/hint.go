package params

import (
	"fmt"
	"strings"
)

// hint says what may have been meant by an unknown key, or else what there is.
func hint(key string) string {
	if near := nearest(key); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "valid are " + strings.Join(current(), ", ")
}

// nearest is the key of the table that takes the fewest edits, case and the two common separators not counted, or ""
// when none is near: more than one edit for every four characters is another word.
func nearest(word string) string {
	best, bestDistance := "", max(1, len(fold(word))/4)+1
	for _, p := range Table {
		// The rest alone is what people write who forget the prefix, or know another driver's keys (blockSize).
		short := strings.TrimPrefix(p.Key[strings.LastIndex(p.Key, "/")+1:], formatPrefix)
		if d := min(distance(fold(word), fold(p.Key)), distance(fold(word), fold(short))); d < bestDistance {
			best, bestDistance = p.Key, d
		}
	}
	return best
}

// fold removes what people spell in different ways.
func fold(s string) string { return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s)) }

// distance is the number of single-character edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
