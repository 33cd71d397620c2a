// Package store keeps the simulator's records: typed tables in memory, and on disk before a change is acknowledged.
//
// A change is a transaction over any number of tables. Its records are written to a bbolt file and synced in one step,
// and only then do readers see them: a process that is killed at any moment loses nothing that it acknowledged, and
// keeps nothing of what it did not. bbolt writes the pages that changed, so a write costs the same whatever the size of
// the state.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// Version is the format of the state file that this program writes.
const Version = 1

const (
	fileName   = "state.db"
	metaBucket = "meta"
	versionKey = "version"
)

// ErrNewer tells that the state was written by a newer version of this program.
var ErrNewer = errors.New("the state was written by a newer version of the simulator")

// Store is a set of tables that change together. Open gives one.
type Store struct {
	db     *bbolt.DB // nil: in memory only
	writer sync.Mutex
	mu     sync.RWMutex // guards keep, forgetting, and the rows of all tables
	keep   time.Duration
	tables []Kind
	// forgetting is the timer that calls forget, nil while nothing of the past is kept.
	forgetting *time.Timer
}

// Kind is what Open needs of a table whatever its rows are; every *Table is one.
type Kind interface {
	bucket() string
	load(id string, raw []byte) error
	loaded()
	fill(from Kind)
	forget(oldest time.Time) bool
}

// Open reads the state under dir into the tables; "" keeps it in memory. It fails when another process uses the
// directory.
func Open(dir string, tables ...Kind) (*Store, error) {
	s := &Store{tables: tables}
	for _, t := range tables {
		if b, ok := t.(interface{ bind(s *Store) }); ok {
			b.bind(s)
		}
	}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	path := filepath.Join(dir, fileName)
	db, err := openFile(path)
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open the state file %s: another process uses it", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the state file %s: %w", path, err)
	}
	s.db = db
	if err := guarded(s.read); err != nil {
		return nil, errors.Join(fmt.Errorf("read the state file %s: %w", path, err), db.Close())
	}
	return s, nil
}

// Fork returns a store in memory, over tables of its own, with what the tables of s contain now.
func (s *Store) Fork(tables ...Kind) *Store {
	fork := &Store{tables: tables}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, t := range tables {
		if b, ok := t.(interface{ bind(s *Store) }); ok {
			b.bind(fork)
		}
		for _, from := range s.tables {
			if from.bucket() == t.bucket() {
				t.fill(from)
			}
		}
	}
	return fork
}

// Close releases the state file.
func (s *Store) Close() error {
	s.writer.Lock()
	defer s.writer.Unlock()
	s.Keep(0)
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}

func (s *Store) read() error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		if err := checkVersion(tx); err != nil {
			return err
		}
		for _, t := range s.tables {
			b, err := tx.CreateBucketIfNotExists([]byte(t.bucket()))
			if err != nil {
				return err
			}
			err = b.ForEach(func(k, v []byte) error {
				if err := t.load(string(k), v); err != nil {
					return fmt.Errorf("%s %q: %w", t.bucket(), k, err)
				}
				return nil
			})
			if err != nil {
				return err
			}
			t.loaded()
		}
		return nil
	})
}

func checkVersion(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists([]byte(metaBucket))
	if err != nil {
		return err
	}
	raw := meta.Get([]byte(versionKey))
	if raw == nil {
		return meta.Put([]byte(versionKey), []byte(strconv.Itoa(Version)))
	}
	version, err := strconv.Atoi(string(raw))
	if err != nil {
		return fmt.Errorf("version %q is not a number", raw)
	}
	if version > Version {
		return fmt.Errorf("%w: it has version %d, this program knows %d", ErrNewer, version, Version)
	}
	return nil
}

// Update runs change and makes what it put and deleted durable and visible, all or nothing. Transactions run one after
// another; change reads through the tables' Get and All with its own changes included when it passes tx.
func (s *Store) Update(change func(tx *Tx) error) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	tx := &Tx{staged: map[string]map[string]op{}}
	if err := change(tx); err != nil {
		return err
	}
	if len(tx.order) == 0 {
		return nil
	}
	if s.db != nil {
		if err := s.db.Update(tx.write); err != nil {
			return fmt.Errorf("write the state: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tx.applied = time.Now()
	for _, o := range tx.order {
		o.apply()
	}
	s.forgetLater()
	return nil
}

// Tx collects the changes of one transaction.
type Tx struct {
	order   []op
	staged  map[string]map[string]op
	old     bool
	applied time.Time // when readers see it
}

// Old makes the transaction one of long ago for those who read by Table.At: they see its changes at once.
func (tx *Tx) Old() { tx.old = true }

type op struct {
	bucket, id string
	value      any // nil: deleted
	apply      func()
}

func (tx *Tx) stage(o op) {
	tx.order = append(tx.order, o)
	if tx.staged[o.bucket] == nil {
		tx.staged[o.bucket] = map[string]op{}
	}
	tx.staged[o.bucket][o.id] = o
}

func (tx *Tx) write(db *bbolt.Tx) error {
	for bucket, ops := range tx.staged {
		b := db.Bucket([]byte(bucket))
		for id, o := range ops {
			if o.value == nil {
				if err := b.Delete([]byte(id)); err != nil {
					return err
				}
				continue
			}
			raw, err := json.Marshal(o.value)
			if err != nil {
				return fmt.Errorf("%s %s: %w", bucket, id, err)
			}
			if err := b.Put([]byte(id), raw); err != nil {
				return err
			}
		}
	}
	return nil
}
