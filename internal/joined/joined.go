// Package joined takes apart what errors.Join has put together, so that each fault can be told by itself.
package joined

import "strings"

// Errors returns the errors that err is joined of, at any depth and in their order; err alone if it is none of
// errors.Join's, nil for nil.
//
// An error with several %w has parts as well, but also words that say how they belong together. It stays whole.
func Errors(err error) []error {
	if err == nil {
		return nil
	}
	join, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // the outermost error, if it is a join
	if !ok {
		return []error{err}
	}
	parts := join.Unwrap()
	texts := make([]string, 0, len(parts))
	for _, part := range parts {
		texts = append(texts, part.Error())
	}
	if err.Error() != strings.Join(texts, "\n") {
		return []error{err}
	}
	var all []error
	for _, part := range parts {
		all = append(all, Errors(part)...)
	}
	return all
}
