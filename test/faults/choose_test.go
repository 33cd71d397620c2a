package faults

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
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
	// long is from how many points on an operation of the node is killed at two of them when not all are to be tried, and
	// failsEach at each how many of these operations a system call fails.
	long      = 25
	failsEach = 4
)

// choose returns the points of a row to try: all, or a few. Those few are elsewhere in each row, so that all kinds of fault
// and all parts of operations come up in a run.
func choose(points map[string][]run, row int, all bool) []fault {
	var chosen []fault
	if all {
		for _, kind := range slices.Sorted(maps.Keys(points)) {
			for _, n := range numbersOf(points[kind], ofAlike) {
				chosen = append(chosen, fault{kind, n})
			}
		}
		return chosen
	}
	add := func(kind string, part float64) {
		if numbers := numbersOf(points[kind], 2); len(numbers) > 0 {
			chosen = append(chosen, fault{kind, numbers[int(part*float64(len(numbers)))]})
		}
	}
	for _, kill := range []bool{true, false} {
		if turn := inTurn(points, kill); len(turn) > 0 {
			add(turn[row%len(turn)], spread(len(turn)*row))
		}
	}
	switch at := spread(row); {
	case len(numbersOf(points[killedAtCall], 2)) < long:
		add(killedAtCall, at)
	default:
		add(killedAtCall, at/2)
		add(killedAtCall, (1+at)/2)
	}
	if row%failsEach == 0 {
		add(failedCall, spread(row/failsEach))
	}
	return chosen
}

// inTurn lists the kinds of fault at API calls that kill the controller, or that it survives.
func inTurn(points map[string][]run, kill bool) []string {
	var names []string
	for _, k := range kinds {
		if k.kills == kill && len(points[k.name]) > 0 {
			names = append(names, k.name)
		}
	}
	return names
}

// numbersOf are the points of the runs that differ, of those that are alike as many as that.
func numbersOf(runs []run, alike int) []int {
	var numbers []int
	for _, r := range runs {
		numbers = append(numbers, r.some(min(cmp.Or(r.most, alike), alike))...)
	}
	return numbers
}

// spread is the nth of numbers from 0 to less than 1 that are far from those before, however many there are: the fractions
// of multiples of the golden ratio.
func spread(n int) float64 {
	const golden = 0.6180339887498949
	multiple := golden * float64(n)
	return multiple - float64(int(multiple))
}

// TestChoose: a few points of each operation are chosen, and together they are everywhere.
func TestChoose(t *testing.T) {
	const calls = 10
	of := map[string][]run{}
	for _, name := range faultNames() {
		for n := range calls {
			of[name] = append(of[name], run{first: n + 1, last: n + 1})
		}
	}
	api, system := maps.Clone(of), maps.Clone(of)
	maps.DeleteFunc(api, func(name string, _ []run) bool { return name == killedAtCall || name == failedCall })
	maps.DeleteFunc(system, func(name string, _ []run) bool { return api[name] != nil })
	if got := len(choose(api, 3, true)); got != len(kinds)*calls {
		t.Errorf("of all %d points %d are tried", len(kinds)*calls, got)
	}
	at, places := map[string]int{}, map[int]bool{}
	for i, w := range rows {
		points, most := system, 2
		if w.use.remote || w.of != nil {
			points, most = api, 2
		}
		chosen := choose(points, i, false)
		if len(chosen) == 0 || len(chosen) > most {
			t.Errorf("%s is tried with %v", w.name, chosen)
		}
		for _, f := range chosen {
			at[f.kind]++
			if f.kind == killedAtCall {
				places[f.n] = true
			}
		}
	}
	for _, name := range faultNames() {
		if at[name] < 4 {
			t.Errorf("%s is tried at %d points", name, at[name])
		}
	}
	if len(places) != calls {
		t.Errorf("of %d system calls operations are killed at %v", calls, slices.Sorted(maps.Keys(places)))
	}
	for n := range long {
		system[killedAtCall] = append(system[killedAtCall], run{first: calls + n + 1, last: calls + n + 1})
	}
	if got := choose(system, 1, false); len(got) != 2 || got[0].n > (calls+long)/2+1 || got[1].n < (calls+long)/2 {
		t.Errorf("a long operation is tried with %v", got)
	}
}

// TestMissing: a run without one of the operations or one of the kinds of fault is not complete.
func TestMissing(t *testing.T) {
	m := matrix{cells: map[string]map[string]*cell{}}
	for i, w := range rows {
		names := faultNames()
		m.note(w.name, names[i%len(names)], true, true)
	}
	if missing := m.missing(); len(missing) > 0 {
		t.Errorf("missing are %q", missing)
	}
	m.cells[rows[3].name] = nil
	for _, w := range rows {
		delete(m.cells[w.name], failedCall)
		m.note(w.name, failedCall, true, false) // not reached
	}
	missing := m.missing()
	if !slices.Contains(missing, rows[3].name) || !slices.Contains(missing, failedCall) || slices.Contains(missing, killedAtCall) {
		t.Errorf("missing are %q", missing)
	}
}
