package joined_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/joined"
)

func TestErrors(t *testing.T) {
	both := fmt.Errorf("reading failed: %w; closing failed: %w", io.EOF, fs.ErrClosed)
	wrapped := fmt.Errorf("--endpoint: %w", errors.Join(io.EOF, fs.ErrClosed))
	for name, test := range map[string]struct {
		err  error
		want []error
	}{
		"none":                          {nil, nil},
		"one":                           {io.EOF, []error{io.EOF}},
		"a join":                        {errors.Join(io.EOF, nil, fs.ErrClosed), []error{io.EOF, fs.ErrClosed}},
		"a join of one":                 {errors.Join(io.EOF), []error{io.EOF}},
		"a join in a join":              {errors.Join(errors.Join(io.EOF, fs.ErrExist), fs.ErrClosed), []error{io.EOF, fs.ErrExist, fs.ErrClosed}},
		"a text with two errors":        {both, []error{both}},
		"such a text in a join":         {errors.Join(both, io.EOF), []error{both, io.EOF}},
		"a join with words before it":   {wrapped, []error{wrapped}},
		"the same error more than once": {errors.Join(io.EOF, io.EOF), []error{io.EOF, io.EOF}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := joined.Errors(test.err); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
