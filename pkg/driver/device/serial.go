package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

const (
	// serialPatience is how long a disk has to tell its serial. The kernel asks the disk itself, which takes
	// microseconds when it is well and for ever when its host has hung.
	serialPatience = time.Second
	// helpAfter is how long a reader may be busy with one disk before another one continues with the rest.
	helpAfter = 50 * time.Millisecond
)

// errSilent says that the read of a serial has not come back.
var errSilent = fmt.Errorf("the disk has not answered within %s", serialPatience)

// answer is what one device said when it was asked for its serial.
type answer struct {
	name   string
	serial string
	err    error
}

// sick reports whether the device may have a serial that could not be read. A device without one is none of the
// platform's disks, and one that went away while we looked is no candidate either.
func (a answer) sick() bool { return a.err != nil && !absent(a.err) }

func (a answer) String() string { return fmt.Sprintf("%s could not be read: %v", a.name, a.err) }

func absent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

// serials asks the devices for their serials. It returns when all have answered, or serialPatience after the last
// one that should have. One reader asks them in turn; only while it waits for a device that does not answer, another
// one is started for the rest.
func (f Finder) serials(names []string) []answer {
	type reply struct {
		index int
		answer
	}
	answers := make([]answer, len(names))
	replies := make(chan reply, len(names)) // a reader that is late never waits for us
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(names); i = int(next.Add(1)) - 1 {
			serial, err := underWay.read(filepath.Join(f.SysfsDir, names[i]))
			replies <- reply{i, answer{names[i], serial, err}}
		}
	}
	for i, name := range names {
		answers[i] = answer{name, "", errSilent}
	}
	stalled, late := time.NewTimer(helpAfter), time.NewTimer(serialPatience)
	defer stalled.Stop()
	defer late.Stop()
	go work()
	for missing := len(names); missing > 0; {
		select {
		case r := <-replies:
			answers[r.index] = r.answer
			missing--
		case <-stalled.C:
			if int(next.Load()) >= len(names) {
				continue // every device is being asked
			}
			go work()
		case <-late.C:
			missing = 0
			continue
		}
		stalled.Reset(helpAfter)
		late.Reset(serialPatience)
	}
	for _, a := range answers {
		underWay.complain(filepath.Join(f.SysfsDir, a.name), a)
	}
	return answers
}

// serialOf asks one device.
func (f Finder) serialOf(name string) (string, error) {
	a := f.serials([]string{name})[0]
	return a.serial, a.err
}

// readSerial reads the serial of the device that the directory stands for, for as long as it takes. The kernel shows
// it in the disk itself or, for some drivers, below device/.
func readSerial(dir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "serial")) //nolint:gosec // in the directory of block devices
	if errors.Is(err, os.ErrNotExist) {
		raw, err = os.ReadFile(filepath.Join(dir, "device", "serial")) //nolint:gosec // as above
	}
	return strings.TrimRight(string(raw), " \t\r\n\x00"), err
}

// underWay are the reads of this process. It is one for all finders: a read that hangs cannot be ended, whoever began
// it, and must not be joined by a second one of the same device.
var underWay = readers{reads: map[string]*reading{}, complaints: map[string]string{}}

type readers struct {
	mu sync.Mutex
	// reads has the reads under way, complaints the last complaint about a device, both by the device's directory.
	reads      map[string]*reading
	complaints map[string]string
}

type reading struct {
	began time.Time
	ended chan struct{}
}

// read reads a serial when nobody else does. It never takes over what another read, which began earlier, returned.
func (r *readers) read(dir string) (string, error) {
	for {
		own, other := r.begin(dir)
		if own != nil {
			serial, err := readSerial(dir)
			r.end(dir, own)
			return serial, err
		}
		timer := time.NewTimer(serialPatience - time.Since(other.began)) // at once when it is over
		select {
		case <-other.ended:
			timer.Stop()
		case <-timer.C:
			return "", errSilent
		}
	}
}

// begin claims the directory, or returns who has it.
func (r *readers) begin(dir string) (own, other *reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.reads[dir]; other != nil {
		return nil, other
	}
	own = &reading{began: time.Now(), ended: make(chan struct{})}
	r.reads[dir] = own
	return own, nil
}

func (r *readers) end(dir string, own *reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.reads, dir)
	close(own.ended)
}

// complain logs that a device cannot be read, once until it can be read again or fails in another way.
func (r *readers) complain(dir string, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.complaints[dir]
	switch {
	case a.sick() && before != a.err.Error():
		r.complaints[dir] = a.err.Error()
		klog.Background().Info("The serial of a block device cannot be read, the device is skipped", "device", a.name, "err", a.err)
	case !a.sick() && before != "":
		delete(r.complaints, dir)
		klog.Background().Info("The serial of the block device can be read again", "device", a.name)
	}
}
