package vultr

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

// keyCheckInterval is how old an answer about the key file may be. The kubelet renews a Secret's file by swapping a
// symlink, so only reading it again tells what it holds.
const keyCheckInterval = time.Second

// keySource returns the API key, from a file that may change or from a fixed value.
type keySource struct {
	file   string
	fixed  string
	redact *redactor

	mu      sync.Mutex
	key     string
	checked time.Time
	since   time.Time // when the key was read first
}

func newKeySource(file, fixed string, red *redactor) (*keySource, error) {
	s := &keySource{file: file, fixed: strings.TrimSpace(fixed), redact: red}
	if file == "" && s.fixed == "" {
		return nil, errors.New("no API key: neither a key file nor a key was given")
	}
	if err := checkKey(s.fixed); s.fixed != "" && err != nil {
		return nil, fmt.Errorf("API key: %w", err)
	}
	_, err := s.get()
	return s, err
}

// get returns the key of now. A file that cannot be read for a moment leaves the last key in place.
func (s *keySource) get() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != "" && time.Since(s.checked) < keyCheckInterval {
		return s.key, nil
	}
	return s.load()
}

// keySince returns since when the key of now is in use. No call that begins later uses an earlier one.
func (s *keySource) keySince() time.Time {
	_, err := s.get()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return time.Now() // there never was one
	}
	return s.since
}

// changed reads again at once and reports whether the key is another one than old: the API may refuse a key that was
// replaced since the last look.
func (s *keySource) changed(old string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := s.load()
	return err == nil && key != old
}

func (s *keySource) load() (string, error) {
	key, err := s.read()
	if err != nil {
		if s.key != "" {
			return s.key, nil
		}
		return "", err
	}
	s.redact.add(key)
	s.checked = time.Now()
	if key != s.key {
		s.key, s.since = key, s.checked
	}
	return key, nil
}

func (s *keySource) read() (string, error) {
	if s.file == "" {
		return s.fixed, nil
	}
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) && s.fixed != "" {
		return s.fixed, nil
	}
	if err != nil {
		return "", fmt.Errorf("API key file: %w", err)
	}
	key := strings.TrimSpace(string(data))
	if err := checkKey(key); err != nil {
		return "", fmt.Errorf("API key file %s: %w", s.file, err)
	}
	return key, nil
}

// checkKey refuses what cannot stand in a header, without repeating it.
func checkKey(key string) error {
	if key == "" {
		return errors.New("it is empty")
	}
	for _, r := range key {
		if r <= ' ' || r > '~' {
			return errors.New("it holds more than one word of plain characters")
		}
	}
	return nil
}
