package vultr

import (
	"context"
	"errors"
	"time"
)

// retryProof is the wait after a look that proved nothing for a reason that names no time.
const retryProof = time.Second

// Search looks for the objects of one kind that a name means: before anything of that name is created, and after a
// create whose outcome is unknown.
type Search[T any] struct {
	// List returns a list that begins after the call.
	List func(ctx context.Context) (List[T], error)
	// Match tells what the name means.
	Match func(T) bool
	// Absent judges whether a list that began then, and lacks the name, proves that nothing has it: one SettleGuard, or
	// several.
	Absent func(listBegan time.Time) error
}

// Run returns the objects found; none without an error is the proof that there are none. While a list cannot prove that
// yet, Run waits and looks again, and returns the reason when ctx ends first or would.
func (s Search[T]) Run(ctx context.Context) ([]T, error) {
	for {
		list, err := s.List(ctx)
		if err != nil {
			return nil, err
		}
		var found []T
		for _, item := range list.Items {
			if s.Match(item) {
				found = append(found, item)
			}
		}
		if len(found) > 0 {
			return found, nil
		}
		unproven := s.Absent(list.Began)
		if unproven == nil {
			return nil, nil
		}
		if err := Settle(ctx, unproven); err != nil {
			return nil, err
		}
	}
}

// Settle waits as long as the proof of absence still takes, by the error of SettleGuard.Absent. When the caller's time
// does not reach that far it returns that error at once.
func Settle(ctx context.Context, unproven error) error {
	wait := retryProof
	if settling, ok := errors.AsType[*SettlingError](unproven); ok {
		wait = max(settling.Wait, time.Millisecond)
	}
	if !pause(ctx, wait) {
		return unproven
	}
	return nil
}
