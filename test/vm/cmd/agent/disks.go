package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
)

// Disk waits for the disk with a serial, as sysfs shows it, and answers with its device node.
func (s *service) Disk(w agent.Wanted, node *string) error {
	for end := time.Now().Add(w.Timeout); ; {
		serials, err := serials()
		if err != nil {
			return err
		}
		for name, serial := range serials {
			if serial == w.Serial {
				*node = "/dev/" + name
				return nil
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("no disk has serial %s, there are %v", w.Serial, serials)
		}
		// Nothing depends on when it is seen: it is there or it is not.
		time.Sleep(10 * time.Millisecond)
	}
}

// serials are those of all disks.
func serials() (map[string]string, error) {
	paths, err := filepath.Glob("/sys/block/*/serial")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, path := range paths {
		if raw, err := os.ReadFile(path); err == nil { // it may just be leaving
			all[filepath.Base(filepath.Dir(path))] = strings.TrimSpace(string(raw))
		}
	}
	return all, nil
}
