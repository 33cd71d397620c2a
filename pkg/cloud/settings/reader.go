package settings

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Refusal is a reason not to create a load balancer: it would be more open or less encrypted than its owner asked for.
type Refusal struct {
	Key Key
	// Problem says what is wrong with the annotation.
	Problem string
}

// String names the annotation and what is wrong with it.
func (r Refusal) String() string { return "annotation " + string(r.Key) + " " + r.Problem }

// Reader reads the annotations of one Service, and the cluster's defaults where the Service says nothing. It collects
// the faults instead of stopping at the first one.
type Reader struct {
	stated   map[string]string
	defaults Defaults
	faults   []error
	warnings []string
	refusals []Refusal
	reported map[Key]bool
}

// NewReader reads from the annotations of a Service; nil is fine.
func NewReader(annotations map[string]string) *Reader { return &Reader{stated: annotations} }

// WithDefaults makes the reader use the cluster's defaults for what the Service does not say, and returns it.
func (r *Reader) WithDefaults(defaults Defaults) *Reader {
	r.defaults = defaults
	return r
}

// WithoutDefaults makes the reader ignore the defaults of these keys.
func (r *Reader) WithoutDefaults(keys ...Key) { r.defaults = r.defaults.without(keys) }

// Err returns all faults so far as one error, nil if there are none.
func (r *Reader) Err() error { return errors.Join(r.faults...) }

// Warnings returns what the owner of the Service should know and what stops nothing.
func (r *Reader) Warnings() []string { return r.warnings }

// Refusals returns the reasons so far not to create a load balancer.
func (r *Reader) Refusals() []Refusal { return r.refusals }

// Reject adds a fault about the value of key.
func (r *Reader) Reject(key Key, format string, args ...any) {
	r.faults = append(r.faults, &ValueError{Key: key, Value: r.raw(key), Problem: fmt.Sprintf(format, args...)})
}

// Fail adds a fault that is not about one annotation.
func (r *Reader) Fail(err error) { r.faults = append(r.faults, err) }

// Warn adds a warning.
func (r *Reader) Warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// Refuse adds a reason not to create a load balancer.
func (r *Reader) Refuse(key Key, problem string) {
	r.refusals = append(r.refusals, Refusal{Key: key, Problem: problem})
}

// States reports whether the Service itself has the annotation, even with an empty value.
func (r *Reader) States(key Key) bool {
	_, there := r.stated[string(key)]
	return there
}

// Says reports whether the Service itself has a value for the annotation.
func (r *Reader) Says(key Key) bool { return strings.TrimSpace(r.stated[string(key)]) != "" }

func (r *Reader) raw(key Key) string {
	if value := r.stated[string(key)]; strings.TrimSpace(value) != "" {
		return value
	}
	if value := r.defaults.value(key); value != "" {
		return value
	}
	return r.stated[string(key)]
}

// Text returns the value without the white space around it, "" if it is unset or malformed.
func (r *Reader) Text(key Key) string {
	s := mustLookup(key)
	value := r.raw(key)
	if value == "" && !r.States(key) {
		return s.Default
	}
	canonical, err := s.Check(value)
	if err != nil && !r.reported[key] {
		r.report(&s, value, err)
	}
	return cmp.Or(canonical, s.Default)
}

// report records, once, that a value cannot be used.
func (r *Reader) report(s *Setting, value string, err error) {
	if r.reported == nil {
		r.reported = map[Key]bool{}
	}
	r.reported[s.Key] = true
	switch {
	case s.Lenient:
		r.lenient(s, value)
	case s.Zero && isZero(value):
		r.Warn("annotation %s: %q is read as the default, %s", s.Key, value, s.Default)
	default:
		r.faults = append(r.faults, err)
	}
}

// lenient reports a malformed value that is read as the default.
func (r *Reader) lenient(s *Setting, value string) {
	reading := "is read as " + s.Default
	if s.Default == "" {
		reading = "has no effect"
	}
	text := fmt.Sprintf("annotation %s: %q is not one of %s; it %s, as by the official controller",
		s.Key, value, s.allowed(), reading)
	if meant := s.suggest(value); meant != "" {
		text += fmt.Sprintf("; write %q", meant)
	}
	r.warnings = append(r.warnings, text)
	if s.AsksForProtection(value) {
		r.Refuse(s.Key, fmt.Sprintf("has the value %q, which is not one of %s", value, s.allowed()))
	}
}

// allowed lists what a lenient setting can be, in words.
func (s *Setting) allowed() string {
	text := strings.Join(s.spellings(), ", ")
	if s.Kind == VPCReference {
		text += ", the UUID of a VPC"
	}
	return text
}

func (s *Setting) spellings() []string {
	if s.Kind == Switch || s.Kind == VPCReference {
		return []string{"true", "false"}
	}
	return s.Values
}

// suggest returns the value that was probably meant, "" if that is unclear.
func (s *Setting) suggest(value string) string {
	spellings := s.spellings()
	if len(spellings) == 0 {
		return ""
	}
	yes, no := "", ""
	for _, spelling := range spellings {
		switch {
		case isOn(spelling):
			yes = spelling
		case isOff(spelling):
			no = spelling
		}
	}
	switch {
	case yes != "" && isOn(value):
		return yes
	case no != "" && isOff(value):
		return no
	}
	return nearest(letters(value), spellings, letters)
}

// Bool returns a switch, its default if it is unset or malformed.
func (r *Reader) Bool(key Key) bool { return isOn(r.Text(key)) }

// Int returns a number, its default if it is unset or malformed.
func (r *Reader) Int(key Key) int {
	n, _ := strconv.Atoi(r.Text(key)) // Text has checked it
	return n
}

// Ports returns a list of port numbers, none if it is unset or malformed.
func (r *Reader) Ports(key Key) []int {
	ports, _ := parsePorts(r.Text(key)) // Text has checked it
	return ports
}

// PortProtocols returns what is spoken on single ports, nothing if it is unset or malformed.
func (r *Reader) PortProtocols(key Key) []PortProtocol {
	entries, _ := ParsePortProtocols(r.Text(key)) // Text has checked it
	return entries
}

// Sources returns who may connect, none if it is unset or malformed.
func (r *Reader) Sources(key Key) []Source {
	sources, _ := ParseSources(r.Text(key)) // Text has checked it
	return sources
}

func isZero(value string) bool {
	n, err := strconv.Atoi(strings.TrimSpace(value))
	return err == nil && n == 0
}

// mustLookup panics for a key that is not in the table, which is a mistake in the program.
func mustLookup(key Key) Setting {
	s, ok := Lookup(key)
	if !ok {
		panic("settings: no row for " + string(key))
	}
	return s
}
