package settings

import (
	"strings"
	"unicode"
)

// letters returns the letters and digits of a text in lower case, so that spellings that differ in case and separators
// are the same.
func letters(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// maxText is the longest text that is compared with others. Nobody misspells a name into something longer.
const maxText = 64

// nearest returns the first of the candidates that is closest to the text, "" if none is close enough to have been
// meant. The text is in the form that the function makes of the candidates.
func nearest(text string, candidates []string, form func(string) string) string {
	if len(text) > maxText {
		return ""
	}
	best, found := typos(text)+1, ""
	for _, candidate := range candidates {
		if d := distance(text, form(candidate)); d < best {
			best, found = d, candidate
		}
	}
	return found
}

// typos is how many slips a word of this length may have and still be recognised.
func typos(text string) int {
	switch {
	case len(text) < 3:
		return 0
	case len(text) < 7:
		return 1
	}
	return 2
}

// distance counts the insertions, deletions, replacements and swaps of neighbours between two texts.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
