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

// missing lists the operations that no fault hit, and the kinds of fault that hit none.
func (m *matrix) missing() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var missing []string
	hit := map[string]int{}
	for _, w := range rows {
		passed := 0
		for kind, c := range m.cells[w.name] {
			passed += c.passed
			hit[kind] += c.passed
		}
		if passed == 0 {
			missing = append(missing, w.name)
		}
	}
	for _, kind := range faultNames() {
		if hit[kind] == 0 {
			missing = append(missing, kind)
		}
	}
	return missing
}

// print writes the matrix on standard output, and to the file that FAULTS_REPORT names.
func (m *matrix) print() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.order) == 0 {
		return nil
	}
	known := faultNames()
	api, system := known[:len(kinds)], known[len(kinds):]
	var other []string
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
	for _, columns := range [][]string{api, system, other} {
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
