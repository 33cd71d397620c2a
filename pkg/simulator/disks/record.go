package disks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/durable"
)

// record says where a disk is plugged. It exists from before the loop device is made until after it is cleared.
type record struct {
	Instance string `json:"instance"`
	Serial   string `json:"serial"`
	Name     string `json:"name"` // vdb
}

// readRecord returns the zero record for a disk that is not plugged.
func (p *Plane) readRecord(id string) (record, error) {
	text, err := os.ReadFile(p.record(id))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("record of disk %s: %w", id, err)
	}
	var rec record
	if err := json.Unmarshal(text, &rec); err != nil {
		return record{}, fmt.Errorf("record of disk %s (%s): %w", id, p.record(id), err)
	}
	if err := errors.Join(checkName("instance", rec.Instance), checkName("serial", rec.Serial), checkName("device", rec.Name)); err != nil {
		return record{}, fmt.Errorf("record of disk %s (%s): %w", id, p.record(id), err)
	}
	return rec, nil
}

func (p *Plane) writeRecord(id string, rec record) error {
	text, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("record of disk %s: %w", id, err)
	}
	if err := durable.Replace(filepath.Join(p.disksDir(), ".new"), p.record(id), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("record of disk %s: %w", id, err)
	}
	return nil
}

func (p *Plane) removeRecord(id string) error {
	if err := os.Remove(p.record(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("record of disk %s: %w", id, err)
	}
	return nil
}

// usedNames returns the device names that an instance's disks have, also those that are being unplugged.
func (p *Plane) usedNames(instanceID string) (map[string]bool, error) {
	ids, err := list(p.disksDir(), recordSuffix)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, id := range ids {
		rec, err := p.readRecord(id)
		if err != nil {
			return nil, err
		}
		if rec.Instance == instanceID {
			used[rec.Name] = true
		}
	}
	return used, nil
}

// freeName picks the device name as a guest's kernel does: the lowest free one. vda is the system disk.
func (p *Plane) freeName(instanceID string) (string, error) {
	used, err := p.usedNames(instanceID)
	if err != nil {
		return "", err
	}
	for letter := 'b'; letter <= 'z'; letter++ {
		if name := "vd" + string(letter); !used[name] {
			return name, nil
		}
	}
	return "", fmt.Errorf("instance %s has no device name left", instanceID)
}
