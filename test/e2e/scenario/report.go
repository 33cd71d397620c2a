package scenario

import "fmt"

// Report collects the figures that steps measure, for the end of a run.
type Report struct {
	lines []string
	// driver are the times of the driver's calls in what was timed.
	driver rpcTimes
	// serviceCalls are the calls of the web Service's life so far.
	serviceCalls calls
}

// Add adds a figure.
func (r *Report) Add(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// Take returns the figures since the last time.
func (r *Report) Take() []string {
	lines := r.lines
	r.lines = nil
	return lines
}

// SkippedError is the error of a step that cannot be shown on this machine.
type SkippedError struct{ Why string }

// Error says why.
func (s *SkippedError) Error() string { return "skipped: " + s.Why }
