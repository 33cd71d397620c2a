package longwork

import "context"

// Turns lets a few works at a time do what takes much of the machine's memory and of its disks' time.
type Turns struct{ slots chan struct{} }

// NewTurns returns turns of which n can be taken at a time.
func NewTurns(n int) Turns { return Turns{make(chan struct{}, n)} }

// Take waits for a turn, as a step of the work, "waiting for a turn to ...", which ends as soon as the process has to. It
// returns the context of that step, and the function that gives the turn back. The wait can be long: what was true of a
// device before it may be no longer.
func (t Turns) Take(task *Task, what string) (ctx context.Context, done func(), err error) {
	ctx, err = task.Step("waiting for a turn to "+what, AtOnce, 0, nil)
	if err != nil {
		return nil, nil, err
	}
	select {
	case t.slots <- struct{}{}:
		return ctx, func() { <-t.slots }, nil
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// Try takes a turn if one is free. done gives it back.
func (t Turns) Try() (done func(), ok bool) {
	select {
	case t.slots <- struct{}{}:
		return func() { <-t.slots }, true
	default:
		return nil, false
	}
}

// Taken is how many turns are taken now.
func (t Turns) Taken() int { return len(t.slots) }
