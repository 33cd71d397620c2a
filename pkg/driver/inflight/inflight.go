// Package inflight keeps operations apart: at most one per key at a time, or one after the other.
package inflight

import "sync"

// Set refuses a second operation with the same key. Its zero value is ready.
type Set struct {
	mu   sync.Mutex
	keys map[string]string
}

// Begin claims the key for the operation named. When the key is free it returns the function that frees it again
// and "", else nil and the name of the operation that has it.
func (s *Set) Begin(key, operation string) (end func(), busyWith string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, taken := s.keys[key]; taken {
		return nil, other
	}
	if s.keys == nil {
		s.keys = map[string]string{}
	}
	s.keys[key] = operation
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.keys, key)
	}, ""
}
