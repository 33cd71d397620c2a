package vultr

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const redacted = "[redacted]"

// privateKeys finds PEM private keys, also in JSON's escaped form and when cut off: an API that repeats a refused
// request in its answer would repeat the certificate's key.
var privateKeys = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)

// redactor keeps every API key that was ever used out of texts that come from outside.
type redactor struct {
	mu   sync.RWMutex
	keys []string
}

func (r *redactor) add(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.keys, key) {
		return
	}
	r.keys = append(r.keys, key)
	// A key that begins with another one must be replaced first, or its rest would stay.
	slices.SortFunc(r.keys, func(a, b string) int { return len(b) - len(a) })
}

// text returns s without secrets.
func (r *redactor) text(s string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range r.keys {
		s = strings.ReplaceAll(s, k, redacted)
	}
	return privateKeys.ReplaceAllString(s, redacted)
}

// err returns cause itself if its text holds no secret; else a plain error with the clean text, through which only the
// end of a context can still be found.
func (r *redactor) err(cause error) error {
	if cause == nil {
		return nil
	}
	clean := r.text(cause.Error())
	if clean == cause.Error() {
		return cause
	}
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(cause, end) {
			return end
		}
	}
	return errors.New(clean)
}
