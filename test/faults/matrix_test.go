package faults

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// run is one point, or several in a row that are alike: a tool that makes a file system writes a thousand times.
type run struct {
	first, last int
	what        string
	// most is how many of them are tried when all are to be, 0 for ofAlike.
	most int
}

// String is for people.
func (r run) String() string {
	if r.first == r.last {
		return fmt.Sprintf("%d %s", r.first, r.what)
	}
	return fmt.Sprintf("%d-%d %s", r.first, r.last, r.what)
}

// runsOf numbers system calls.
func runsOf(calls []string) []run {
	var runs []run
	for i, call := range calls {
		if n := len(runs); n > 0 && runs[n-1].what == call {
			runs[n-1].last++
			continue
		}
		runs = append(runs, run{first: i + 1, last: i + 1, what: call})
	}
	return runs
}

// some returns up to a number of points of the run, the first and the last among them.
func (r run) some(most int) []int {
	var numbers []int
	for i := range min(most, r.last-r.first+1) {
		numbers = append(numbers, r.first+i*(r.last-r.first)/max(1, min(most, r.last-r.first+1)-1))
	}
	return numbers
}

const (
	// ofAlike is how many points of a run are tried when all are to be, ofReads the same of reads in a row, by which
	// something is waited for.
	ofAlike = 16
	ofReads = 3
	// sample is at how many system calls of an operation it is killed when not all are to be tried.
	sample = 4
)

// choose returns the points to try: all, or an even sample in which each kind of fault comes up.
func choose(points map[string][]run, all bool) []fault {
	var chosen []fault
	kinds := slices.Sorted(maps.Keys(points))
	for i, kind := range kinds {
		var numbers []int
		for _, r := range points[kind] {
			most := cmp.Or(r.most, ofAlike)
			if !all {
				most = min(most, 2)
			}
			numbers = append(numbers, r.some(most)...)
		}
		switch total := len(numbers); {
		case total == 0:
		case !all && kind == killedAtCall:
			numbers = evenly(numbers, sample)
		case !all && kind == failedCall:
			numbers = numbers[total/2:][:1]
		case !all: // each kind at another number
			numbers = numbers[i%total:][:1]
		}
		for _, n := range numbers {
			chosen = append(chosen, fault{kind, n})
		}
	}
	return chosen
}

// evenly returns some of the numbers, the first and the last among them.
func evenly(numbers []int, most int) []int {
	var some []int
	for _, i := range (run{first: 0, last: len(numbers) - 1}).some(most) {
		some = append(some, numbers[i])
	}
	return some
}

// cell is what became of the points of one operation and kind of fault.
type cell struct{ points, tried, passed, missed int }

// matrix is what all tests found.
type matrix struct {
	mu    sync.Mutex
	cells map[string]map[string]*cell // by operation, by kind
	order []string
	swept map[string]int
	hands map[string]int
}

var found = matrix{cells: map[string]map[string]*cell{}, swept: map[string]int{}, hands: map[string]int{}}

func (m *matrix) cell(row, kind string) *cell {
	if m.cells[row] == nil {
		m.cells[row] = map[string]*cell{}
		m.order = append(m.order, row)
	}
	if m.cells[row][kind] == nil {
		m.cells[row][kind] = &cell{}
	}
	return m.cells[row][kind]
}

// has notes how many points there are.
func (m *matrix) has(row, kind string, runs []run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range runs {
		m.cell(row, kind).points += r.last - r.first + 1
	}
}

// note notes what became of one.
func (m *matrix) note(row, kind string, passed, hit bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cell(row, kind)
	c.tried++
	switch {
	case passed && hit:
		c.passed++
	case passed:
		c.missed++
	}
}

// left notes what a row left to the sweep.
func (m *matrix) left(row string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.swept[row] += n
}

// helped notes that a person had to help.
func (m *matrix) helped(row string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hands[row]++
}

// print writes the matrix on standard output, and to the file that FAULTS_REPORT names.
func (m *matrix) print() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.order) == 0 {
		return nil
	}
	var api, other []string
	for _, k := range kinds {
		api = append(api, k.name)
	}
	known := append([]string{killedAtCall, failedCall}, api...)
	for _, row := range m.order {
		for kind := range m.cells[row] {
			if !slices.Contains(known, kind) && !slices.Contains(other, kind) {
				other = append(other, kind)
			}
		}
	}
	slices.Sort(other)
	slices.SortStableFunc(m.order, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
	var b strings.Builder
	var total cell
	for _, columns := range [][]string{api, {killedAtCall, failedCall}, other} {
		m.table(&b, &total, columns)
	}
	fmt.Fprintf(&b, "In all %d points, %d tried, %d passed, %d not reached.\n", total.points, total.tried, total.passed, total.missed)
	if total.tried < total.points {
		b.WriteString("This is a sample, the same each time; FAULTS=all tries every point, of calls in a row that are alike a few.\n")
	}
	fmt.Fprintf(&b, "The seed of what goes wrong by chance is %d.\n", seed)
	for _, row := range slices.Sorted(maps.Keys(m.swept)) {
		fmt.Fprintf(&b, "%s: %d temporary snapshots were left to the hourly sweep.\n", row, m.swept[row])
	}
	for _, row := range slices.Sorted(maps.Keys(m.hands)) {
		fmt.Fprintf(&b, "%s: at %d points a person had to do what the error advised; the data was whole.\n", row, m.hands[row])
	}
	fmt.Print(b.String())
	if file := os.Getenv("FAULTS_REPORT"); file != "" {
		return os.WriteFile(file, []byte(b.String()), 0o600)
	}
	return nil
}

// table writes the operations that have one of the faults.
func (m *matrix) table(b *strings.Builder, total *cell, columns []string) {
	var lines strings.Builder
	for _, row := range m.order {
		line, has := fmt.Sprintf("%-24s", row), false
		for _, kind := range columns {
			c := m.cells[row][kind]
			has = has || c != nil
			line += fmt.Sprintf(" %-13s", c)
			total.add(c)
		}
		if has {
			lines.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	if lines.Len() == 0 {
		return
	}
	b.WriteString("Passed/tried of points, by operation and fault:\n")
	letters := strings.Repeat(" ", 24)
	for i, kind := range columns {
		fmt.Fprintf(b, "  %c: %s\n", 'a'+i, kind)
		letters += fmt.Sprintf(" %-13c", 'a'+i)
	}
	fmt.Fprintf(b, "%s\n%s\n", strings.TrimRight(letters, " "), lines.String())
}

// add adds up.
func (c *cell) add(o *cell) {
	if o != nil {
		c.points, c.tried, c.passed, c.missed = c.points+o.points, c.tried+o.tried, c.passed+o.passed, c.missed+o.missed
	}
}

// String is "passed/tried of points"; what failed is marked.
func (c *cell) String() string {
	if c == nil {
		return "-"
	}
	text := fmt.Sprintf("%d/%d of %d", c.passed, c.tried, c.points)
	if c.passed+c.missed < c.tried {
		text += " !"
	}
	return text
}

// place is where an operation stands in the table.
func place(name string) int {
	i := slices.IndexFunc(rows, func(w row) bool { return w.name == name })
	if i < 0 {
		return len(rows)
	}
	return i
}
