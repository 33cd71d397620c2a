// Package state keeps small records on the node that survive the process.
//
// They are valid for one boot of the machine. Should the machine itself be cut off, then each record is found afterwards
// as it was or as it became, whole: what it holds is synced before it replaces the record before it. Which of the two
// matters to nobody, as a format of an earlier boot is never continued and no mount outlives a boot, so the directory is
// not synced as well.
//
// They are no memory of what is mounted where: that is asked of the kernel. They hold what the kernel cannot tell,
// that a format was begun, and which device a volume was staged from.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Intent records that a device is about to be formatted. As long as it exists and matches, what is found on the
// device may be our own unfinished work.
type Intent struct {
	VolumeID string `json:"volumeID"`
	Serial   string `json:"serial"`
	FSType   string `json:"fsType"`
	// Layer is the encryption that is made, too, "" for none.
	Layer string `json:"layer,omitempty"`
	// BootID is the boot of the machine in which the format began, and DiskSeq the stay of the disk in that boot.
	// Before or after it the disk may have been elsewhere, and may have got data there.
	BootID  string `json:"bootID"`
	DiskSeq uint64 `json:"diskSeq"`
}

// Staged records from which device a volume was staged.
type Staged struct {
	VolumeID string `json:"volumeID"`
	Serial   string `json:"serial"`
	// Kind is the kind of storage, "" in records of older versions, which are of block storage.
	Kind string `json:"kind,omitempty"`
	// Block is set when it was staged to be used as a block device, ReadOnly when nothing may write to it.
	Block    bool `json:"block,omitempty"`
	ReadOnly bool `json:"readOnly,omitempty"`
	// Layer is the encryption between the disk and the device, "" for none.
	Layer string `json:"layer,omitempty"`
	// Device is the device node, and Number the device number, in the form of sysfs.
	Device string `json:"device,omitempty"`
	Number string `json:"number,omitempty"`
	// BootID is the boot of the machine and DiskSeq the stay of the disk in that boot from which it was staged. Whatever
	// was mounted from another stay is dead. They are unset in records of older versions.
	BootID  string `json:"bootID,omitempty"`
	DiskSeq uint64 `json:"diskSeq,omitempty"`
}

// Store keeps records in a directory.
type Store struct{ dir string }

// The names of files that are not records yet.
const (
	unfinished = ".new-"
	probing    = ".probe-"
)

// Open makes the directory if need be and tells at once when it cannot be written to. It removes what a process that was
// killed left unfinished: nobody else would.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	s := &Store{dir: dir}
	if err := errors.Join(s.Check(), s.tidy()); err != nil {
		return nil, err
	}
	return s, nil
}

// tidy removes unfinished files. Should a process that is about to end still be writing one, then its call fails and is
// repeated by the process that comes after it.
func (s *Store) tidy() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("listing the records: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), unfinished) && !strings.HasPrefix(e.Name(), probing) {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing what an earlier process left unfinished: %w", err)
		}
	}
	return nil
}

// Check reports whether records can be written.
func (s *Store) Check() error {
	probe, err := os.CreateTemp(s.dir, probing+"*")
	if err != nil {
		return fmt.Errorf("the state directory cannot be written to: %w", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// WriteIntent records an intent. When it returns, the record is there for whoever comes after this process.
func (s *Store) WriteIntent(i Intent) error { return s.write("intent", i.VolumeID, i) }

// Intent reads the intent of a volume, nil when there is none. A record that cannot be read is an error: it must
// not be taken for none.
func (s *Store) Intent(volumeID string) (*Intent, error) {
	var i Intent
	found, err := s.read("intent", volumeID, &i)
	if err != nil || !found {
		return nil, err
	}
	return &i, nil
}

// Intents reads all intents. One that cannot be read is left out: it is an error for its own volume only.
func (s *Store) Intents() ([]Intent, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("listing the records: %w", err)
	}
	var all []Intent
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".intent.json")
		if !ok {
			continue
		}
		if i, err := s.Intent(id); err == nil && i != nil {
			all = append(all, *i)
		}
	}
	return all, nil
}

// ClearIntent forgets the intent of a volume.
func (s *Store) ClearIntent(volumeID string) error { return s.remove("intent", volumeID) }

// WriteStaged records a staged volume.
func (s *Store) WriteStaged(v Staged) error { return s.write("staged", v.VolumeID, v) }

// Staged reads the record of a staged volume, nil when there is none.
func (s *Store) Staged(volumeID string) (*Staged, error) {
	var v Staged
	found, err := s.read("staged", volumeID, &v)
	if err != nil || !found {
		return nil, err
	}
	return &v, nil
}

// AllStaged returns the IDs of all volumes with a record of being staged.
func (s *Store) AllStaged() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("listing the records: %w", err)
	}
	var all []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".staged.json"); ok {
			all = append(all, id)
		}
	}
	return all, nil
}

// ClearStaged forgets a staged volume.
func (s *Store) ClearStaged(volumeID string) error { return s.remove("staged", volumeID) }

// path is a file of its own for each kind and volume. IDs were judged before; one that could leave the directory
// is refused all the same.
func (s *Store) path(kind, volumeID string) (string, error) {
	if volumeID == "" || strings.ContainsAny(volumeID, "/\x00") || strings.HasPrefix(volumeID, ".") {
		return "", fmt.Errorf("volume ID %q cannot be the name of a record", volumeID)
	}
	return filepath.Join(s.dir, strings.ToLower(volumeID)+"."+kind+".json"), nil
}

// write replaces the record as a whole: a reader, also one after a crash, finds the old one or the new one.
func (s *Store) write(kind, volumeID string, record any) error {
	path, err := s.path(kind, volumeID)
	if err != nil {
		return err
	}
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(s.dir, unfinished+"*")
	if err != nil {
		return fmt.Errorf("recording the %s of volume %s: %w", kind, volumeID, err)
	}
	_, err = file.Write(append(data, '\n'))
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the record was not made, a leftover would only confuse
		return fmt.Errorf("recording the %s of volume %s: %w", kind, volumeID, err)
	}
	return nil
}

func (s *Store) read(kind, volumeID string, record any) (bool, error) {
	path, err := s.path(kind, volumeID)
	if err != nil {
		return false, err
	}
	data, err := os.ReadFile(path) //nolint:gosec // the name was checked by path
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the %s record of volume %s: %w", kind, volumeID, err)
	}
	if err := json.Unmarshal(data, record); err != nil {
		return false, fmt.Errorf("the %s record of volume %s is damaged, and nothing is done with the volume on this node: %w. "+
			"When no pod on the node uses the volume, remove the file %s in the node plugin's container: what is on the disk is looked at then", kind, volumeID, err, path)
	}
	return true, nil
}

func (s *Store) remove(kind, volumeID string) error {
	path, err := s.path(kind, volumeID)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("forgetting the %s of volume %s: %w", kind, volumeID, err)
	}
	return nil
}

// BootID is the kernel's name for the time since the machine started.
func BootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot ID: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}
