// Package account proves that the account that the API key belongs to is the cluster's.
//
// With the key of another account every read and every write is answered, and what is the cluster's is answered by 404.
// So a 404 proves that something is gone only if the same key shows something that is certainly the cluster's: a
// witness. It need be one only, because a volume or an instance is in one account.
package account

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what the proof takes.
type API interface {
	Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error)
	Instance(ctx context.Context, id string) (vultr.Instance, error)
	// KeySince returns since when the present key is in use.
	KeySince() time.Time
}

// Members returns IDs of instances that are certainly the cluster's. It is asked only when nothing else is known.
type Members func(ctx context.Context) ([]string, error)

// remembered bounds the memory for instances.
const remembered = 1000

// Account knows whether the key's account is the cluster's. It is safe for concurrent use.
type Account struct {
	api     API
	members Members

	mu     sync.Mutex
	proven time.Time // as of when the account was last proven
	// seen are instances that the account had when it was proven, and those that Kubernetes named and it showed.
	seen map[string]struct{}
}

// New returns an Account that has proven nothing yet. Without members nil is given.
func New(api API, members Members) *Account {
	return &Account{api: api, members: members, seen: map[string]struct{}{}}
}

// DoubtError is returned when the account shows none of what is the cluster's, so that nothing follows from what it lacks.
type DoubtError struct {
	// Known are instances of the cluster that the account lacks, none if nothing is known of the cluster and the account
	// has no instances at all.
	Known []string
}

// Error says what is doubtful and what to do.
func (e *DoubtError) Error() string {
	const advice = "put the key of the cluster's account into the Secret. If it is the right one, restart the controller"
	if len(e.Known) == 0 {
		return "the API key shows no instance at all, so its account cannot be this cluster's: " + advice
	}
	const few = 3
	return fmt.Sprintf("the API key shows none of this cluster's instances (%s; %d are known), so it seems to belong to another account: %s",
		strings.Join(e.Known[:min(few, len(e.Known))], ", "), len(e.Known), advice)
}

// Shown notes that the account showed, as of a time, what Kubernetes named by its ID. That is a proof.
func (a *Account) Shown(asOf time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if asOf.After(a.proven) {
		a.proven = asOf
	}
}

// HasInstance notes that the account has an instance that Kubernetes named: it is a witness from then on.
func (a *Account) HasInstance(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.see(id)
}

// see remembers an instance. The caller holds the lock.
func (a *Account) see(id string) {
	if len(a.seen) < remembered {
		a.seen[strings.ToLower(id)] = struct{}{}
	}
}

// prove notes what the account has that was just proven. What it no longer has is no witness any more.
func (a *Account) prove(list vultr.List[vultr.Instance]) {
	a.Shown(list.Began)
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.seen)
	for _, i := range list.Items {
		a.see(i.ID)
	}
}

// CheckKey returns nil if the account of the present key was ever proven to be the cluster's: a key never changes its
// account. It costs nothing then, and else what Check costs.
func (a *Account) CheckKey(ctx context.Context) error {
	since := a.api.KeySince()
	a.mu.Lock()
	proven := a.proven
	a.mu.Unlock()
	if !proven.Before(since) && !proven.IsZero() {
		return nil
	}
	return a.Check(ctx, since)
}

// Check returns nil if the account shows an instance of the cluster's in a list that began at since or later, and a
// *DoubtError if it shows none. All who ask about the same moment share one list. Of the named instances Kubernetes says
// that they are or were the cluster's; one that is shown proves the account, and one that is not may be gone.
//
// When no instance of the cluster is known, any instance counts: a cluster has some, and a new one may have nothing else.
func (a *Account) Check(ctx context.Context, since time.Time, named ...string) error {
	list, err := a.api.Instances(ctx, time.Since(since))
	if err != nil {
		if a.shows(ctx, named) {
			return nil
		}
		return fmt.Errorf("looking for the cluster's instances: %w", err)
	}
	shown := make(map[string]bool, len(list.Items))
	for _, i := range list.Items {
		shown[strings.ToLower(i.ID)] = true
	}
	has := func(id string) bool { return shown[strings.ToLower(id)] }
	known := a.known()
	if slices.ContainsFunc(named, has) || slices.ContainsFunc(known, has) {
		a.prove(list)
		return nil
	}
	var failure error
	if a.members != nil {
		var members []string
		members, failure = a.members(ctx)
		if slices.ContainsFunc(members, has) {
			a.prove(list)
			return nil
		}
		known = append(known, members...)
	}
	if len(known) > 0 || len(shown) == 0 || failure != nil {
		return errors.Join(&DoubtError{Known: known}, failure)
	}
	a.prove(list)
	return nil
}

// shows reports whether a single instance is shown, for want of a list: a key may be refused one of both kinds of server,
// or one kind may fail.
func (a *Account) shows(ctx context.Context, named []string) bool {
	const enough = 3
	ids := append(slices.Clone(named), a.known()...)
	if len(ids) < enough && a.members != nil {
		members, err := a.members(ctx)
		if err != nil {
			return false
		}
		ids = append(ids, members...)
	}
	for _, id := range ids[:min(enough, len(ids))] {
		asked := time.Now()
		if _, err := a.api.Instance(ctx, id); err == nil {
			a.HasInstance(id)
			a.Shown(asked)
			return true
		}
	}
	return false
}

func (a *Account) known() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.seen))
}
