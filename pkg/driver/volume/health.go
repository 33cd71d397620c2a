package volume

import (
	"context"
	"time"
)

// Severity says what a condition means for who uses the volume.
type Severity int

// The severities.
const (
	Degraded     Severity = iota + 1 // it can be used, but not as it should be
	Inaccessible                     // it cannot be used
)

// Condition is something that is wrong with a volume.
type Condition struct {
	Severity Severity
	// Reason is one word in CamelCase, for machines and columns. A volume has no two conditions with one severity and one reason.
	Reason string
	// Message says what is wrong, and what to do.
	Message string
}

// Examiner is a Backend that can say what is wrong with its volumes.
type Examiner interface {
	// Examine returns what is wrong with the volume, nothing when it is well.
	Examine(ctx context.Context, id string) ([]Condition, error)
	// ExamineAll returns the IDs of all volumes with which something is wrong, and what. maxAge says how old the lists may
	// be that it is read from.
	ExamineAll(ctx context.Context, maxAge time.Duration) (map[string][]Condition, error)
}
