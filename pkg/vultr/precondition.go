package vultr

import (
	"context"
	"errors"
	"fmt"
)

// Precondition reports what must hold at the moment a write is sent, by an error if it does not. Time passes between
// the caller's own check and the request: it waits for its turn, and a refusal for its rate or a lost answer repeats
// it. So the transport asks again right before each attempt. A failed precondition ends the call, and the error that
// the caller gets wraps the precondition's.
//
// A precondition may call the API. It should remember when it last looked, and look again only if that was too long ago.
type Precondition func(ctx context.Context) error

// all joins preconditions into one; nil if there are none.
func all(preconditions []Precondition) Precondition {
	if len(preconditions) == 0 {
		return nil
	}
	return func(ctx context.Context) error {
		for _, holds := range preconditions {
			if err := holds(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// holds asks the call's precondition, if it has one. The error belongs to an attempt that was not sent.
func (r *record) holds(ctx context.Context) *Error {
	if r.precondition == nil {
		return nil
	}
	if err := r.precondition(ctx); err != nil {
		return r.fail(0, "", &unsentError{err})
	}
	return nil
}

// unsentError is the cause of a call that was not sent because its precondition failed.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return fmt.Sprintf("not sent: %v", e.err) }

func (e *unsentError) Unwrap() error { return e.err }

// preconditionsOwn returns the API error with which a precondition failed in place of that of the write which was
// not sent: it is what the caller can judge.
func preconditionsOwn(err error) error {
	unsent, ok := errors.AsType[*unsentError](err)
	if !ok || IsOutcomeUnknown(err) {
		return err
	}
	if own, ok := errors.AsType[*Error](unsent.err); ok {
		return own
	}
	return err
}
