package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
)

// Disks waits for disks with a serial, as sysfs shows it, and answers with their device nodes.
func (s *service) Disks(w agent.Wanted, nodes *[]string) (err error) {
	*nodes, err = await(w.Serial, w.Count, w.Timeout)
	return err
}

// await waits until so many disks with the serial are there, or more.
func await(serial string, count int, within time.Duration) ([]string, error) {
	for end := time.Now().Add(within); ; {
		found, all, err := disks(serial)
		if err != nil {
			return nil, err
		}
		if len(found) >= count {
			return found, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%d disks have serial %s, there are %q", len(found), serial, all)
		}
		// Nothing depends on when it is seen: it is there or it is not.
		time.Sleep(10 * time.Millisecond)
	}
}

// disks lists the nodes of the disks that have the serial and can be opened, and the serials of all.
func disks(serial string) (found, all []string, err error) {
	paths, err := filepath.Glob("/sys/block/*/serial")
	if err != nil {
		return nil, nil, err
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it may just be leaving
		}
		all = append(all, strings.TrimSpace(string(raw)))
		node := "/dev/" + filepath.Base(filepath.Dir(path))
		if all[len(all)-1] != serial {
			continue
		}
		if file, err := os.Open(node); err == nil {
			_ = file.Close() // only tried
			found = append(found, node)
		}
	}
	return found, all, nil
}
