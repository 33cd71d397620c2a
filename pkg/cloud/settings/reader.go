package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ValueError is one value that cannot be used.
type ValueError struct {
	Key   Key
	Value string
	// Problem says what is wrong, or what is allowed: "must be one of a, b".
	Problem string
}

// Error says which annotation has which value, and what is allowed.
func (f *ValueError) Error() string {
	return fmt.Sprintf("annotation %s: %q %s", f.Key, f.Value, f.Problem)
}

// Reader reads the annotations of one Service and collects the faults instead of stopping at the first one.
type Reader struct {
	values map[string]string
	faults []error
}

// NewReader reads from the annotations of a Service; nil is fine.
func NewReader(annotations map[string]string) *Reader { return &Reader{values: annotations} }

// Err returns all faults so far as one error, nil if there are none.
func (r *Reader) Err() error { return errors.Join(r.faults...) }

// Reject adds a fault about the value of key.
func (r *Reader) Reject(key Key, format string, args ...any) {
	r.faults = append(r.faults, &ValueError{Key: key, Value: r.values[string(key)], Problem: fmt.Sprintf(format, args...)})
}

// Fail adds a fault that is not about one annotation.
func (r *Reader) Fail(err error) { r.faults = append(r.faults, err) }

// Has tells whether the annotation is there, even with an empty value.
func (r *Reader) Has(key Key) bool {
	_, there := r.values[string(key)]
	return there
}

// String returns the value without the white space around it, "" if there is none.
func (r *Reader) String(key Key) string { return strings.TrimSpace(r.values[string(key)]) }

// Bool returns a switch, false if it is not set.
func (r *Reader) Bool(key Key) bool {
	value := r.String(key)
	if value == "" {
		return false
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		r.Reject(key, "must be true or false")
	}
	return b
}

// OneOf returns the value if it is allowed, fallback if it is not set or not allowed.
func (r *Reader) OneOf(key Key, fallback string, allowed ...string) string {
	value := strings.ToLower(r.String(key))
	if value == "" {
		return fallback
	}
	if slices.Contains(allowed, value) {
		return value
	}
	r.Reject(key, "must be one of %s", strings.Join(allowed, ", "))
	return fallback
}

// Int returns a number within the bounds, fallback if it is not set or not allowed.
func (r *Reader) Int(key Key, fallback, lowest, highest int) int {
	value := r.String(key)
	if value == "" {
		return fallback
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < lowest || n > highest {
		r.Reject(key, "must be a number from %d to %d", lowest, highest)
		return fallback
	}
	return n
}

// Ports returns a list of port numbers separated by commas.
func (r *Reader) Ports(key Key) []int {
	var ports []int
	for field := range strings.SplitSeq(r.String(key), ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		port, err := strconv.Atoi(field)
		if err != nil || port < 1 || port > 65535 {
			r.Reject(key, "must be a list of port numbers separated by commas")
			return nil
		}
		ports = append(ports, port)
	}
	return ports
}
