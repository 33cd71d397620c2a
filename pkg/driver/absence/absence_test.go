package absence

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// machines is an account with so many instances.
type machines int

func (m machines) Instances(context.Context, time.Duration) (vultr.List[vultr.Instance], error) {
	return vultr.List[vultr.Instance]{Items: make([]vultr.Instance, m), Began: time.Now()}, nil
}

func (machines) Instance(context.Context, string) (vultr.Instance, error) {
	return vultr.Instance{}, errors.New("not asked for")
}

func (machines) KeySince() time.Time { return time.Time{} }

// TestRemove: what is gone is proven by two answers to the write, a pause between, and reads that show nothing in the
// cluster's account. Everything else is an error or a delete.
func TestRemove(t *testing.T) {
	gone := &vultr.Error{Status: 404, Message: "Invalid block storage ID."}
	lacking := volume.Errorf(volume.NotFound, "no read shows it")
	refused := errors.New("refused")
	precondition := volume.Errorf(volume.NotFound, "a precondition: %w", gone)
	for name, c := range map[string]struct {
		writes  []error
		look    error
		account machines
		wasGone bool
		want    volume.Reason // 0 is success
		failure error
		pause   bool
	}{
		"deleted":                     {writes: []error{nil}, account: 1},
		"gone":                        {writes: []error{gone, gone}, look: lacking, account: 1, wasGone: true, pause: true},
		"there after all":             {writes: []error{gone, nil}, account: 1, pause: true},
		"shown, and answered as gone": {writes: []error{gone, gone}, account: 1, want: volume.Busy, pause: true},
		"in another account":          {writes: []error{gone}, look: lacking, account: 0, want: volume.Busy, pause: true},
		"reads fail":                  {writes: []error{gone}, look: volume.Errorf(volume.Busy, "it fails"), account: 1, want: volume.Busy, pause: true},
		"refused":                     {writes: []error{refused}, account: 1, failure: refused},
		"refused the second time":     {writes: []error{gone, refused}, look: lacking, account: 1, failure: refused, pause: true},
		"a precondition's not found":  {writes: []error{precondition}, account: 1, want: volume.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, calls := time.Now(), 0
				thing := Thing{Name: "it", Pause: 3 * time.Second, Account: account.New(c.account, nil), Look: func(context.Context) error { return c.look }}
				wasGone, err := thing.Remove(t.Context(), func(context.Context) error {
					calls++
					return c.writes[calls-1]
				})
				if wasGone != c.wasGone || calls != len(c.writes) || volume.ReasonOf(err) != c.want || c.failure != nil && !errors.Is(err, c.failure) {
					t.Errorf("was gone %t, %v, after %d writes", wasGone, err, calls)
				}
				if (err != nil) != (c.want != 0 || c.failure != nil) {
					t.Errorf("got %v", err)
				}
				if paused := time.Since(began) >= thing.Pause; paused != c.pause {
					t.Errorf("it took %v", time.Since(began))
				}
			})
		})
	}
}

// TestLookAgainEnds with its caller, and says of what.
func TestLookAgainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		thing := Thing{Name: "volume 1", Pause: time.Minute, Account: account.New(machines(1), nil), Look: func(context.Context) error { return nil }}
		if err := thing.LookAgain(ctx, time.Now()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "volume 1 was not found") {
			t.Errorf("got %v", err)
		}
	})
}
