// Package staging has the words in which the node service speaks to its kinds of storage.
package staging

import (
	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Use is how a volume is to be used.
type Use struct {
	// Block is set when the pod gets a device instead of a file system.
	Block bool
	// FSType is the file system, "" for the default or whatever is there.
	FSType string
	// ReadOnly is set when nothing may be written, Single when one pod only may have the volume.
	ReadOnly, Single bool
	// Options are mount options.
	Options []string
}

// Volume is a volume as a request to stage or publish it describes it.
type Volume struct {
	ID  string
	Use Use
	// Context is the volume context, Published the publish context.
	Context, Published map[string]string
	// Encryption is how what is on the disk is encrypted, "" for not at all, and Keys the passphrases, as far as the request
	// has some.
	Encryption string
	Keys       luks.Keys
}

// PublishedReadOnly reports whether the node has the volume read-only, whatever its pods ask for.
func (v Volume) PublishedReadOnly() bool { return v.Published[volume.ContextReadOnly] == "true" }

// Growth is what an expansion asks for.
type Growth struct {
	// Required is the size in bytes that the volume must at least have.
	Required int64
	// Block says whether the volume is used as a block device, nil when the request does not.
	Block *bool
	// Keys are the passphrases of an encrypted volume, as far as the request has some.
	Keys luks.Keys
}

// Amounts are used and available parts of a total.
type Amounts struct{ Total, Available, Used int64 }

// Stats is what was measured of a volume.
type Stats struct {
	// Bytes has only a total for a block device.
	Bytes Amounts
	// Inodes is nil where there is no fixed number of them.
	Inodes *Amounts
}

// StatsOf reads a statfs. Inodes are left out where the file system has no fixed number of them.
func StatsOf(st unix.Statfs_t) Stats {
	bytes := func(blocks uint64) int64 { return int64(blocks) * st.Bsize } //nolint:gosec // below 2^63
	stats := Stats{Bytes: Amounts{Total: bytes(st.Blocks), Available: bytes(st.Bavail), Used: bytes(st.Blocks - st.Bfree)}}
	if st.Files > 0 {
		//nolint:gosec // below 2^63
		stats.Inodes = &Amounts{Total: int64(st.Files), Available: int64(st.Ffree), Used: int64(st.Files - st.Ffree)}
	}
	return stats
}
