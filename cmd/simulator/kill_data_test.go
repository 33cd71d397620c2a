package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// spot is how much is written to a disk at each of the places.
const spot = 256 << 10

// places are where the disks have data, with holes between and behind.
var places = []int64{0, 8 << 20, 9 << 30}

// contents is what was written to disks and file systems, as a guest does. Everything on a disk says the same number,
// and a disk that was never written to says 0.
type contents struct {
	state  string
	random *rand.Rand
	next   uint64
	// disks, snapshots and files tell the number by ID. What was made since the last look is not known yet.
	disks, snapshots map[string]uint64
	files            map[string]string
}

func newContents(state string, random *rand.Rand) *contents {
	return &contents{state: state, random: random, disks: map[string]uint64{}, snapshots: map[string]uint64{}, files: map[string]string{}}
}

// compare demands of every disk, snapshot and file system the data that was written to it, or to what it was made of.
// Nothing has been written since it was called last but by write, which came right after it.
func (c *contents) compare(t *testing.T, view simulator.View) {
	t.Helper()
	disks, snapshots := map[string]uint64{}, map[string]uint64{}
	origin := map[string]string{}
	for _, b := range view.Blocks {
		disks[b.ID] = read(t, filepath.Join(c.state, "disks", b.ID+".img"))
		origin[b.ID] = b.SnapshotID
	}
	for _, s := range view.Snapshots {
		snapshots[s.ID] = read(t, filepath.Join(c.state, "snapshots", s.ID+".img"))
		origin[s.ID] = s.BlockID
	}
	c.match(t, "volume", disks, c.disks, snapshots, c.snapshots, origin)
	c.match(t, "snapshot", snapshots, c.snapshots, disks, c.disks, origin)
	c.disks, c.snapshots = disks, snapshots
	t.Logf("%d of %d volumes and %d of %d snapshots have data", written(disks), len(disks), written(snapshots), len(snapshots))
	files := map[string]string{}
	for _, f := range view.FileSystems {
		text, err := os.ReadFile(filepath.Join(c.state, "filesystems", f.ID, "note"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		if want := c.files[f.ID]; string(text) != want {
			t.Errorf("file system %s says %q, written was %q", f.ID, text, want)
		}
		files[f.ID] = string(text)
	}
	c.files = files
}

func written(numbers map[string]uint64) (n int) {
	for _, number := range numbers {
		if number != 0 {
			n++
		}
	}
	return n
}

// match compares what is there with what was known of it; of what is new, with what is known of its origin.
func (c *contents) match(t *testing.T, kind string, now, before, origins, originsBefore map[string]uint64, origin map[string]string) {
	t.Helper()
	for id, got := range now {
		want, known := before[id]
		from := origin[id]
		switch {
		case known:
		case from == "":
			want, known = 0, true // a new volume is empty
		default:
			if want, known = originsBefore[from]; !known {
				want, known = origins[from]
			}
		}
		if known && got != want {
			t.Errorf("%s %s (made of %q) says %d, written was %d", kind, id, from, got, want)
		}
	}
}

// read returns the number that all of a disk's file says.
func read(t *testing.T, path string) uint64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer func() { _ = f.Close() }()
	var number uint64
	data := make([]byte, spot)
	for i, place := range places {
		if _, err := f.ReadAt(data, place); err != nil {
			t.Errorf("%s: %v", path, err)
			return 0
		}
		if i == 0 {
			number = binary.NativeEndian.Uint64(data)
		}
		if !bytes.Equal(data, filled(number)) {
			t.Errorf("%s does not say %d everywhere: it is there in part", path, number)
		}
	}
	return number
}

func filled(number uint64) []byte {
	data := make([]byte, spot)
	for i := 0; i < spot; i += 8 {
		binary.NativeEndian.PutUint64(data[i:], number)
	}
	return data
}

// write gives some of what is attached new data, down to the medium.
func (c *contents) write(t *testing.T, view simulator.View) {
	t.Helper()
	for _, b := range view.Blocks {
		if b.AttachedTo == "" || c.random.IntN(2) == 0 {
			continue
		}
		c.next++
		device := filepath.Join(c.state, "instances", b.AttachedTo, "devices", "disk", "by-id", "virtio-"+b.MountID)
		if err := writeAll(device, filled(c.next)); err != nil {
			t.Error(err)
		}
		c.disks[b.ID] = c.next
	}
	for _, f := range view.FileSystems {
		for _, a := range f.Attachments {
			c.next++
			note := filepath.Join(c.state, "instances", a.Instance, "vfs", fmt.Sprint(a.MountTag), "note")
			if err := os.WriteFile(note, fmt.Append(nil, c.next), 0o600); err != nil {
				t.Error(err)
			}
			c.files[f.ID] = fmt.Sprint(c.next)
		}
	}
}

func writeAll(device string, data []byte) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var faults []error
	for _, place := range places {
		_, err := f.WriteAt(data, place)
		faults = append(faults, err)
	}
	return errors.Join(append(faults, f.Sync(), f.Close())...)
}
