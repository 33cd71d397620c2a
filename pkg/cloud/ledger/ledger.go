// Package ledger remembers which load balancer was made, or is being made, for which Service.
//
// It is a ConfigMap in kube-system that this controller alone writes, with one entry for each Service. What tenants
// can write, such as the annotations of their Services, is a hint and never a proof; the ledger is one. An entry is
// written before the request that makes a load balancer leaves, so whoever leads next knows that one may exist that
// no read shows yet.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// The ConfigMap.
const (
	Namespace = metav1.NamespaceSystem
	Name      = "vultr-load-balancers"
)

// about says to people what the ConfigMap is.
const about = "Which load balancer belongs to which Service (by UID). Written by the Vultr cloud controller manager alone; " +
	"without it load balancers are found again by their labels only."

// Entry is what is known of the load balancer of one Service. Times are in UTC, in whole seconds.
type Entry struct {
	// Service is the Service as namespace/name, for people.
	Service string `json:"service"`
	// ID is the load balancer, "" while none is known.
	ID string `json:"id,omitempty"`
	// Tried is when a request to make one left, or one got the label that proves whose it is, and no read has shown it yet.
	// Zero if there is none.
	Tried time.Time `json:"tried,omitzero"`
	// Made is when the request that made it was answered. Zero for one that was found.
	Made time.Time `json:"made,omitzero"`
	// Shown is set when a read has shown it: from then on, not being shown means something.
	Shown bool `json:"shown,omitempty"`
	// Adopted is set for one that was not made for the Service: it is kept when the Service goes.
	Adopted bool `json:"adopted,omitempty"`
	// Deleted is when the platform accepted its deletion. Zero before.
	Deleted time.Time `json:"deleted,omitzero"`
	// Noted is the ID that was written into the Service's annotation, where it proves nothing.
	Noted string `json:"noted,omitempty"`
	// Address is the last one in the Service's status.
	Address string `json:"address,omitempty"`
	// Certificate tells which certificate it was given, "" for none of ours.
	Certificate string `json:"certificate,omitempty"`
	// Firewall is set when its firewall rules come from the Service, so that they go when the Service names none.
	Firewall bool `json:"firewall,omitempty"`
}

// Ledger holds all entries. It is safe for concurrent use.
type Ledger struct {
	maps typedv1.ConfigMapInterface

	mu      sync.Mutex
	entries map[types.UID]Entry
}

// ErrNotLoaded is returned before Load has succeeded: what is not known must not be taken for empty.
var ErrNotLoaded = errors.New("the record of load balancers is not loaded yet")

// New returns a ledger that knows nothing until Load.
func New(client kubernetes.Interface) *Ledger {
	return &Ledger{maps: client.CoreV1().ConfigMaps(Namespace)}
}

// Load reads the ConfigMap as the API server has it now, and makes it if there is none. One that cannot be read is an
// error: people must mend or delete it, since a load balancer that is forgotten is paid for ever.
func (l *Ledger) Load(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, err := l.maps.Get(ctx, Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		none := map[types.UID]Entry{}
		if err := l.create(ctx, none); err != nil {
			return err
		}
		l.entries = none
	case err != nil:
		return fmt.Errorf("reading ConfigMap %s/%s: %w", Namespace, Name, err)
	default:
		entries, err := decode(found.Data)
		if err != nil {
			return fmt.Errorf("ConfigMap %s/%s: %w; mend the entry, or delete it to have the load balancer looked for by its label", Namespace, Name, err)
		}
		l.entries = entries
	}
	return nil
}

func decode(data map[string]string) (map[types.UID]Entry, error) {
	entries := make(map[types.UID]Entry, len(data))
	for uid, text := range data {
		var entry Entry
		if err := json.Unmarshal([]byte(text), &entry); err != nil {
			return nil, fmt.Errorf("entry %s: %w", uid, err)
		}
		entries[types.UID(uid)] = entry
	}
	return entries, nil
}

// create writes the whole ConfigMap. It is called under the lock.
func (l *Ledger) create(ctx context.Context, entries map[types.UID]Entry) error {
	data := make(map[string]string, len(entries))
	for uid, entry := range entries {
		text, err := json.Marshal(entry)
		if err != nil {
			return fmt.Errorf("entry %s: %w", uid, err)
		}
		data[string(uid)] = string(text)
	}
	_, err := l.maps.Create(ctx, &v1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: Namespace, Name: Name,
			Labels:      map[string]string{"app": "vultr-ccm"},
			Annotations: map[string]string{"kubernetes.io/description": about},
		},
		Data: data,
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating ConfigMap %s/%s: %w", Namespace, Name, err)
	}
	return nil
}

// Get returns the entry of a Service, the zero Entry if there is none.
func (l *Ledger) Get(uid types.UID) (Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		return Entry{}, ErrNotLoaded
	}
	return l.entries[uid], nil
}

// All returns a copy of all entries.
func (l *Ledger) All() map[types.UID]Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.entries)
}

// Put writes an entry, if it differs from the one that is there; the zero Entry removes it. When it returns nil, the
// API server has it.
func (l *Ledger) Put(ctx context.Context, uid types.UID, entry Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		return ErrNotLoaded
	}
	if l.entries[uid] == entry {
		return nil
	}
	var value *string // null removes the key
	if entry != (Entry{}) {
		text, err := json.Marshal(entry)
		if err != nil {
			return fmt.Errorf("entry %s: %w", uid, err)
		}
		value = new(string(text))
	}
	patch, err := json.Marshal(map[string]any{"data": map[types.UID]*string{uid: value}})
	if err != nil {
		return fmt.Errorf("entry %s: %w", uid, err)
	}
	written, err := l.maps.Patch(ctx, Name, types.MergePatchType, patch, metav1.PatchOptions{})
	switch {
	case apierrors.IsNotFound(err):
		// Somebody deleted it: all that this process knows is written again.
		before, had := l.entries[uid]
		l.set(uid, entry)
		if err := l.create(ctx, l.entries); err != nil {
			if had {
				l.entries[uid] = before
			} else {
				delete(l.entries, uid)
			}
			return err
		}
		return nil
	case err != nil:
		return fmt.Errorf("writing down the load balancer of Service %s in ConfigMap %s/%s: %w", entry.Service, Namespace, Name, err)
	}
	l.set(uid, entry)
	return l.mend(ctx, written)
}

// Mend restores what somebody else has deleted or changed: what this process knows is what holds.
func (l *Ledger) Mend(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		return ErrNotLoaded
	}
	found, err := l.maps.Get(ctx, Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return l.create(ctx, l.entries)
	case err != nil:
		return fmt.Errorf("reading ConfigMap %s/%s: %w", Namespace, Name, err)
	}
	return l.mend(ctx, found)
}

// mend is Mend for the ConfigMap as it was found. It is called under the lock.
func (l *Ledger) mend(ctx context.Context, found *v1.ConfigMap) error {
	lost := map[types.UID]string{}
	for uid, entry := range l.entries {
		text, err := json.Marshal(entry)
		if err != nil {
			return fmt.Errorf("entry %s: %w", uid, err)
		}
		var there Entry
		if err := json.Unmarshal([]byte(found.Data[string(uid)]), &there); err != nil || there != entry {
			lost[uid] = string(text)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"data": lost})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	if _, err := l.maps.Patch(ctx, Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("mending ConfigMap %s/%s: %w", Namespace, Name, err)
	}
	return nil
}

func (l *Ledger) set(uid types.UID, entry Entry) {
	if entry == (Entry{}) {
		delete(l.entries, uid)
		return
	}
	l.entries[uid] = entry
}

// Second returns t as entries hold times, so that an entry that was read equals the one that was written.
func Second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
