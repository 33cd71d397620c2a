package main

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// coverage is what is known of every block of code that a profile names.
type coverage map[string]block

// block is a run of statements without a branch.
type block struct {
	statements int
	covered    bool
}

// add reads a cover profile. A block that several test binaries or profiles
// report is covered if any of them says so.
func (c coverage) add(profile string) (err error) {
	file, err := os.Open(profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		if strings.HasPrefix(scanner.Text(), "mode:") {
			continue
		}
		var where string
		var statements, count int
		if _, err := fmt.Sscan(scanner.Text(), &where, &statements, &count); err != nil {
			return fmt.Errorf("%s: line %q: %w", profile, scanner.Text(), err)
		}
		c[where] = block{statements: statements, covered: count > 0 || c[where].covered}
	}
	return scanner.Err()
}

// share is the part of statements that is covered.
type share struct{ covered, all int }

// String is in percent.
func (s share) String() string {
	if s.all == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", s.percent())
}

// percent is 0 where there are no statements.
func (s share) percent() float64 {
	if s.all == 0 {
		return 0
	}
	return 100 * float64(s.covered) / float64(s.all)
}

func (s share) plus(b block) share {
	s.all += b.statements
	if b.covered {
		s.covered += b.statements
	}
	return s
}

// packages are the shares of each package, and their names in order.
func (c coverage) packages() (names []string, shares map[string]share, total share) {
	shares = map[string]share{}
	for where, b := range c {
		// package/file.go:line.column,line.column
		name := path.Dir(where[:strings.LastIndex(where, ":")])
		shares[name] = shares[name].plus(b)
		total = total.plus(b)
	}
	return slices.Sorted(maps.Keys(shares)), shares, total
}

// part is the share of all packages in and below a directory of the repository.
func (c coverage) part(directory string) share {
	var whole share
	for where, b := range c {
		if strings.HasPrefix(short(where), directory+"/") {
			whole = whole.plus(b)
		}
	}
	return whole
}
