package volume

import (
	"errors"
	"fmt"
)

// Reason sorts errors by what the caller can do about them.
type Reason int

// The reasons. Their zero value is no reason at all.
const (
	_          Reason = iota
	Invalid           // the request can never succeed
	NotFound          // what it names does not exist
	Exists            // something else has the name
	OutOfRange        // the size cannot be had
	InUse             // the present state forbids it; somebody has to act
	Exhausted         // a limit is reached or the place does not sell it
	Busy              // it may succeed later without anybody acting
	Denied            // the secrets of the request do not fit
)

// ErrOtherRegion is the cause of a refusal to attach a volume to an instance that is elsewhere.
var ErrOtherRegion = errors.New("a volume can be attached only in its own region")

// Error is a failure with a reason.
type Error struct {
	Reason Reason
	// Err says what happened; it may wrap a cause.
	Err error
}

// Error says what happened.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns what happened and through it the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error; %w in the format keeps its cause.
func Errorf(reason Reason, format string, args ...any) error {
	return &Error{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// ReasonOf returns the reason of an error, 0 when it has none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return 0
}
