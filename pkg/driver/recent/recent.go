// Package recent remembers things for as long as they are used.
package recent

import (
	"sync"
	"time"
)

// ForgetAfter is how long a value outlives its last use.
const ForgetAfter = 10 * time.Minute

// sweepEvery is how often values that nobody used are looked for.
const sweepEvery = time.Minute

// Memory has a value for each key. Its zero value is empty. It is safe for concurrent use.
type Memory[K comparable, V any] struct {
	mu     sync.Mutex
	values map[K]*used[V]
	swept  time.Time
}

type used[V any] struct {
	value V
	at    time.Time
}

// With runs f on the value of the key, which is a zero value if there is none. Nobody else has a value meanwhile.
func (m *Memory[K, V]) With(key K, f func(value *V, now time.Time)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.sweep(now)
	u, ok := m.values[key]
	if !ok {
		u = &used[V]{}
		m.values[key] = u
	}
	u.at = now
	f(&u.value, now)
}

// Look runs f on the value of the key, if there is one, which does not count as a use.
func (m *Memory[K, V]) Look(key K, f func(value *V, now time.Time)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u, ok := m.values[key]; ok {
		f(&u.value, time.Now())
	}
}

// Len returns how many values there are.
func (m *Memory[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.values)
}

func (m *Memory[K, V]) sweep(now time.Time) {
	if m.values == nil {
		m.values, m.swept = map[K]*used[V]{}, now
	}
	if now.Sub(m.swept) <= sweepEvery {
		return
	}
	m.swept = now
	for key, u := range m.values {
		if now.Sub(u.at) > ForgetAfter {
			delete(m.values, key)
		}
	}
}
