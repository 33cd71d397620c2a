// Package ledger remembers which load balancer was made, or is being made, for which Service.
//
// It is kept in ConfigMaps in kube-system that this controller alone writes, with one entry for each Service. What
// tenants can write, such as the annotations of their Services, is a hint and never a proof; the ledger is one. An entry
// is written before the request that makes a load balancer leaves, so whoever leads next knows that one may exist that no
// read shows yet.
//
// The API server rewrites a whole object for each change of it. Therefore the entries are spread over many small
// ConfigMaps, the shards, changes that come together are written together, and a shard rests after each write the longer
// the larger it is.
//
// Each write leaves a mark in the shard and has the mark of the write before as its precondition. So a second controller,
// or a leader that was frozen and wakes after its lease, notices that somebody else is at work, and neither overwrites what
// the other knows.
package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"sync/atomic"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"golang.org/x/sync/errgroup"
)

// The ConfigMaps. The number of shards can't change without moving entries, and the role of the controller names each.
const (
	Namespace = metav1.NamespaceSystem
	// Prefix is what their names begin with; two hexadecimal digits follow.
	Prefix = "vultr-load-balancers-"
	// ClassPrefix is that of a controller which serves the Services of its class only, beside another one.
	ClassPrefix = "vultr-class-load-balancers-"
	// Shards is how many there are at most: one is made when the first entry comes into it.
	Shards = 64
)

// readsAtOnce is how many shards are read at a time.
const readsAtOnce = 8

// The label of the ConfigMaps. People may take it off, so it finds them and proves nothing.
const (
	labelKey   = "app"
	labelValue = "vultr-ccm"
)

var (
	// ErrNotLoaded is returned before Load has succeeded: what is not known must not be taken for empty.
	ErrNotLoaded = errors.New("the record of load balancers is not loaded yet")
	// ErrChanged is returned by Put when another controller has changed the entry since it was read by Get.
	ErrChanged = errors.New("another controller has changed the record meanwhile, so two are at work: " +
		"make sure that one cloud controller manager runs in this cluster, or several with leader election")
)

// Ledger holds all entries. It is safe for concurrent use; the entry of one Service is read and written by one goroutine
// at a time.
type Ledger struct {
	prefix string
	maps   typedv1.ConfigMapInterface
	shards [Shards]*shard
	loaded atomic.Bool
	// refused is set when this process has no right to list ConfigMaps, so that it does not ask again and again.
	refused atomic.Bool
}

// New returns a ledger that knows nothing until Load.
func New(client kubernetes.Interface) *Ledger { return NewAt(client, Prefix) }

// NewAt is New for ConfigMaps whose names begin otherwise.
func NewAt(client kubernetes.Interface, prefix string) *Ledger {
	l, writer := &Ledger{prefix: prefix, maps: client.CoreV1().ConfigMaps(Namespace)}, rand.Text()
	for i := range &l.shards {
		l.shards[i] = &shard{maps: l.maps, name: name(prefix, i), writer: writer}
	}
	return l
}

// Name returns the name of the ConfigMap that has the Service's entry.
func Name(uid types.UID) string { return name(Prefix, index(uid)) }

// Name returns the name of the ConfigMap that has the Service's entry in this ledger.
func (l *Ledger) Name(uid types.UID) string { return name(l.prefix, index(uid)) }

func name(prefix string, i int) string { return fmt.Sprintf("%s%02x", prefix, i) }

func index(uid types.UID) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(uid)) // never fails
	return int(hash.Sum32() % Shards)
}

func (l *Ledger) shard(uid types.UID) *shard { return l.shards[index(uid)] }

// Load reads the ConfigMaps as the API server has them now, each by its name, so that one without its label is not
// forgotten. An entry that cannot be decoded is an error of Get and Put for its own Service: people must mend or delete it,
// since a load balancer that is forgotten is paid for ever.
func (l *Ledger) Load(ctx context.Context) error {
	if err := l.each(func(s *shard) error { return s.load(ctx) }); err != nil {
		return err
	}
	l.loaded.Store(true)
	return nil
}

func (l *Ledger) each(f func(*shard) error) error {
	var group errgroup.Group
	group.SetLimit(readsAtOnce)
	for _, s := range &l.shards {
		group.Go(func() error { return f(s) })
	}
	return group.Wait() //nolint:wrapcheck // it is f's own error
}

// Get returns the entry of a Service, the zero Entry if there is none. One that cannot be decoded is an error. A time that is ahead of now counts as now from the
// first Get on.
func (l *Ledger) Get(uid types.UID) (Entry, error) {
	if !l.loaded.Load() {
		return Entry{}, ErrNotLoaded
	}
	return l.shard(uid).get(uid)
}

// All returns a copy of all entries.
func (l *Ledger) All() map[types.UID]Entry {
	all := map[types.UID]Entry{}
	if !l.loaded.Load() {
		return all
	}
	for _, s := range &l.shards {
		s.mu.Lock()
		maps.Copy(all, s.entries)
		s.mu.Unlock()
	}
	return all
}

// Put writes an entry, if it differs from the one that is there; the zero Entry removes it. When it returns nil, the
// API server has it. When another controller has changed the entry since the last Get, nothing is written and the error
// is ErrChanged: what the caller decided on is no longer true.
func (l *Ledger) Put(ctx context.Context, uid types.UID, entry Entry) error {
	if !l.loaded.Load() {
		return ErrNotLoaded
	}
	text, err := encode(uid, entry)
	if err != nil {
		return err
	}
	s := l.shard(uid)
	if err := s.put(ctx, &change{uid: uid, entry: entry, text: text}); err != nil {
		return fmt.Errorf("writing down the load balancer of Service %s in ConfigMap %s/%s: %w", cmp.Or(entry.Service, string(uid)), Namespace, s.name, err)
	}
	return nil
}

// Confirm compares the ConfigMap of a Service's entry with what this process knows. What another controller has changed is
// learned, and until the next Get the error of Put is ErrChanged, also of one that has nothing to write.
func (l *Ledger) Confirm(ctx context.Context, uid types.UID) error {
	if !l.loaded.Load() {
		return ErrNotLoaded
	}
	s := l.shard(uid)
	if err := s.put(ctx, &change{look: true}); err != nil {
		return fmt.Errorf("comparing ConfigMap %s/%s with what is known: %w", Namespace, s.name, err)
	}
	return nil
}

// Mend restores what people have deleted or changed: what this process knows is what holds. What another controller has
// written holds too, and is learned, also where nothing was written before: it may have led when this process read the ConfigMaps.
//
// One list tells which of them have changed, and those are read. Without the right to list, each is.
func (l *Ledger) Mend(ctx context.Context) error {
	if !l.loaded.Load() {
		return ErrNotLoaded
	}
	seen, listed, err := l.list(ctx)
	if err != nil {
		return err
	}
	return l.each(func(s *shard) error {
		if err := s.put(ctx, &change{look: true, listed: listed, seen: seen[s.name]}); err != nil {
			return fmt.Errorf("comparing ConfigMap %s/%s with what is known: %w", Namespace, s.name, err)
		}
		return nil
	})
}

// list returns the ConfigMaps that have the label, by name, and whether they may be listed.
func (l *Ledger) list(ctx context.Context) (seen map[string]*v1.ConfigMap, listed bool, err error) {
	if l.refused.Load() {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	found, err := l.maps.List(ctx, metav1.ListOptions{LabelSelector: labelKey + "=" + labelValue})
	if apierrors.IsForbidden(err) {
		l.refused.Store(true)
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("listing the ConfigMaps of the record of load balancers in %s: %w", Namespace, err)
	}
	seen = map[string]*v1.ConfigMap{}
	for i := range found.Items {
		seen[found.Items[i].Name] = &found.Items[i]
	}
	return seen, true, nil
}
