package attachlimit

import (
	"slices"
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// foreignAfter is how long a disk that appeared, or that was ours, has to be nobody's before it counts as foreign. A disk
// shows on the machine some seconds before the cluster knows that it is attached, and until it is detached, which may
// take minutes, the cluster counts it itself.
const foreignAfter = 2 * time.Minute

// Disks are the platform's volumes on the machine.
type Disks struct {
	// Foreign is how many count for the platform and not for the cluster: attached by hand, by another cluster's driver,
	// or what the machine boots from, if that is a volume.
	Foreign int
	// Most is how many there were at once since the last proof: what was attached can be attached.
	Most int
}

// Seen is one look at the machine.
type Seen struct {
	// Serials are those of all devices that tell one.
	Serials []string
	// Unread is how many devices may have a serial that could not be read.
	Unread int
	// Ours are the IDs of the volumes that the cluster counts.
	Ours []string
	// Proof is the last one that is known.
	Proof Proof
}

// Memory is what looks before have shown. Its zero value is that of a process that has just started.
type Memory struct {
	mu sync.Mutex
	// nobodys has since when each disk is nobody's, zero if it was so when the process started.
	nobodys map[string]time.Time
	most    int
	proof   Proof
}

// Judge returns what a look shows. Only disks with serials in the platform's form are volumes: neither loop devices, nor
// the disk that comes with an instance, nor local disks take a place of one.
func (m *Memory) Judge(s Seen, now time.Time) Disks {
	m.mu.Lock()
	defer m.mu.Unlock()
	began := m.nobodys == nil
	if began {
		m.nobodys = map[string]time.Time{}
	}
	serials := platforms(s.Serials)
	var d Disks
	for _, serial := range serials {
		since, known := m.nobodys[serial]
		switch {
		case slices.ContainsFunc(s.Ours, func(id string) bool { return volume.SerialMatches(id, serial) }):
			m.nobodys[serial] = now
			continue
		case !known && !began:
			since = now
		}
		m.nobodys[serial] = since
		if now.Sub(since) >= foreignAfter {
			d.Foreign++
		}
	}
	for serial := range m.nobodys {
		if !slices.Contains(serials, serial) {
			delete(m.nobodys, serial)
		}
	}
	d.Foreign += max(0, s.Unread-missing(s.Ours, serials))
	if !m.proof.At.Equal(s.Proof.At) {
		m.most, m.proof = 0, s.Proof
	}
	m.most = max(m.most, len(serials))
	d.Most = m.most
	return d
}

// platforms returns the serials in the platform's form, each once.
func platforms(serials []string) []string {
	var all []string
	for _, s := range serials {
		if volume.IsSerial(s) && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// missing is how many of our volumes none of the serials belongs to. Each can be one of the devices that tell none.
func missing(ours, serials []string) int {
	n := 0
	for _, id := range ours {
		if !slices.ContainsFunc(serials, func(serial string) bool { return volume.SerialMatches(id, serial) }) {
			n++
		}
	}
	return n
}
