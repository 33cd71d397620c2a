// Package absence proves that something on the platform does not exist.
//
// What counts as gone is never asked for again: what is believed to be gone and is not stays in the account for ever.
// So "not found" proves that only if
//
//   - it was the answer twice, with a pause between: one answer may come from a replica that lags or fails,
//   - at last it was the answer to a write, which reads cannot make wrong,
//   - and no read, single or list, shows the thing meanwhile,
//   - and the account was proven between the two answers to be the cluster's (package account): with the key of another
//     one everything is not found. A key that is replaced once, at any time, spoils one of the three at most.
package absence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Thing is what may be absent.
type Thing struct {
	// Name is what errors call it: "volume <ID>".
	Name string
	// Look looks for it by both kinds of reads; its error is NotFound if neither shows it.
	Look func(ctx context.Context) error
	// Pause is how long after it was not found it is looked for again.
	Pause   time.Duration
	Account *account.Account
}

// LookAgain looks for what was not found at the time asked or later, after a pause. NotFound is for what no read shows in
// an account that was proven to be the cluster's since it was asked; instances are those that Kubernetes names with it.
func (t Thing) LookAgain(ctx context.Context, asked time.Time, instances ...string) error {
	timer := time.NewTimer(t.Pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return fmt.Errorf("%s was not found, and before it was looked for again: %w", t.Name, ctx.Err())
	}
	err := t.Look(ctx)
	if volume.ReasonOf(err) != volume.NotFound {
		return err
	}
	if doubt := t.Account.Check(ctx, asked, instances...); doubt != nil {
		return volume.Errorf(volume.Busy, "%s is not found, which proves nothing: %w", t.Name, doubt)
	}
	return err
}

// Remove deletes it by the write given, which has its own preconditions. wasGone reports that it was proven not to exist
// before.
func (t Thing) Remove(ctx context.Context, write func(ctx context.Context) error) (wasGone bool, err error) {
	asked := time.Now()
	err = write(ctx)
	if !isAnswered404(err) {
		return false, err
	}
	again := t.LookAgain(ctx, asked)
	if again != nil && volume.ReasonOf(again) != volume.NotFound {
		return false, again
	}
	// What reads show after all is deleted by this.
	err = write(ctx)
	switch {
	case !isAnswered404(err):
		return false, err
	case again == nil:
		return false, volume.Errorf(volume.Busy, "%s is shown by a read, and a delete of it is answered as if it did not exist; "+
			"it is looked at again: %w", t.Name, err)
	}
	return true, nil
}

// isAnswered404 reports whether the platform answered a write so; a precondition's NotFound is none.
func isAnswered404(err error) bool {
	_, precondition := errors.AsType[*volume.Error](err)
	return vultr.IsNotFound(err) && !precondition
}
