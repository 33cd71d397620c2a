package lb

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

// matrix is what became of the scripts: for each of their points, by outcome.
type matrix struct {
	mu   sync.Mutex
	rows map[string]*row
}

// row is a script.
type row struct {
	points []string
	// tried are the results, by point and outcome.
	tried map[int]map[*outcome]byte
}

// The results.
const (
	passed  = '+'
	failed  = '!'
	missed  = '?' // the point was not reached
	untried = '.'
)

var found = matrix{rows: map[string]*row{}}

// has notes the points of a script.
func (m *matrix) has(script string, points []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[script] = &row{points: points, tried: map[int]map[*outcome]byte{}}
}

// note notes what became of a script.
func (m *matrix) note(script string, at int, how *outcome, well, hit bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.rows[script]
	if r.tried[at] == nil {
		r.tried[at] = map[*outcome]byte{}
	}
	switch {
	case !well:
		r.tried[at][how] = failed
	case !hit:
		r.tried[at][how] = missed
	default:
		r.tried[at][how] = passed
	}
}

// missing lists the scripts and outcomes of which nothing was tried, if all scripts were carried out.
func (m *matrix) missing() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rows) < len(scripts) {
		return nil // somebody chose
	}
	var missing []string
	came := map[*outcome]bool{}
	for name, r := range m.rows {
		reached := false
		for _, results := range r.tried {
			for how, result := range results {
				came[how] = came[how] || result != missed
				reached = reached || result != missed
			}
		}
		if !reached {
			missing = append(missing, name)
		}
	}
	for _, how := range outcomes {
		if !came[how] {
			missing = append(missing, how.name)
		}
	}
	slices.Sort(missing)
	return missing
}

// print writes the matrix on standard output, and to the file that LB_FAULTS_REPORT names.
func (m *matrix) print() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rows) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("What becomes of a load balancer if something goes wrong at a point, and then all is well again.\n")
	fmt.Fprintf(&b, "%c passed, %c failed, %c not reached, %c not tried, blank where it cannot happen:\n", passed, failed, missed, untried)
	letters := ""
	for i, how := range outcomes {
		fmt.Fprintf(&b, "  %c: %s\n", 'a'+i, how.name)
		letters += fmt.Sprintf(" %c", 'a'+i)
	}
	counts := map[byte]int{}
	points := 0
	for i := range scripts {
		if r := m.rows[scripts[i].name]; r != nil {
			fmt.Fprintf(&b, "%-55s%s\n", scripts[i].name, letters)
			points += len(r.points)
			r.print(&b, counts)
		}
	}
	fmt.Fprintf(&b, "In all %d points; %d times something went wrong at one: %d passed, %d failed, %d not reached.\n",
		points, counts[passed]+counts[failed]+counts[missed], counts[passed], counts[failed], counts[missed])
	if counts[untried] > 0 {
		b.WriteString("This is a sample, the same each time; FAULTS=all tries every point in every way.\n")
	}
	fmt.Print(b.String())
	if file := os.Getenv("LB_FAULTS_REPORT"); file != "" {
		return os.WriteFile(file, []byte(b.String()), 0o600)
	}
	return nil
}

// print writes the points at which something was tried, and counts all results.
func (r *row) print(b *strings.Builder, counts map[byte]int) {
	for at, name := range r.points {
		line, tried := fmt.Sprintf("%4d %-50s", at+1, name), false
		for _, how := range outcomes {
			result, done := r.tried[at+1][how]
			switch {
			case !how.applies(name):
				line += "  "
				continue
			case !done:
				result = untried
			}
			tried = tried || done
			counts[result]++
			line += " " + string(result)
		}
		if tried {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
}
