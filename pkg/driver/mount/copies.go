package mount

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// A directory can be seen at several paths, such as the kubelet's when it is bound to another place. If those places
// are shared, whatever is mounted in one appears in all, and goes from all when it is unmounted in one. Such copies
// are one mount with several paths.
//
// They cannot be told by their own peer group: a bind of a shared mount is its peer as well, and the bind at a pod's
// path is not the mount at the staging path. Copies are mounted on the same directory of the same file system, below
// mounts that are peers.

// group returns a group of mountinfo's optional fields, such as shared:17, 0 when it has none.
func group(fields []string, name string) int {
	for _, f := range fields {
		if value, ok := strings.CutPrefix(f, name+":"); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

// spot is the directory or file on which something is mounted, as its file system knows it.
type spot struct {
	number device.Number
	path   string
}

// on returns where a mount is mounted, false when its parent is not in the table.
func (t Table) on(e Entry) (parent Entry, where spot, ok bool) {
	i := slices.IndexFunc(t, func(p Entry) bool { return p.id == e.parent && p.id != e.id })
	if i < 0 {
		return Entry{}, spot{}, false
	}
	parent = t[i]
	below, err := filepath.Rel(parent.Path, e.Path)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		return Entry{}, spot{}, false
	}
	return parent, spot{parent.Number, filepath.Join(parent.Root, below)}, true
}

// CopiesOf lists the mounts that appeared with the mount elsewhere because the directories are shared, and that go
// with it. A mount of the same that does not go with it, such as in a private copy of the directory that was made
// later, is none.
func (t Table) CopiesOf(e Entry) Table {
	parent, where, ok := t.on(e)
	if !ok || parent.peers == 0 {
		return nil
	}
	groups := t.receivers(parent.peers)
	var copies Table
	for _, c := range t {
		if c.id == e.id || c.Number != e.Number || c.Root != e.Root {
			continue
		}
		p, at, ok := t.on(c)
		if ok && at == where && (slices.Contains(groups, p.peers) || overlap(groups, p.masters)) {
			copies = append(copies, c)
		}
	}
	return copies
}

// receivers returns the group and those to which its mounts are passed on.
func (t Table) receivers(g int) []int {
	groups := []int{g}
	for grown := true; grown; {
		grown = false
		for _, e := range t {
			if e.peers != 0 && !slices.Contains(groups, e.peers) && overlap(groups, e.masters) {
				groups, grown = append(groups, e.peers), true
			}
		}
	}
	return groups
}

func overlap(a, b []int) bool {
	return slices.ContainsFunc(b, func(g int) bool { return slices.Contains(a, g) })
}

// Others lists the mounts of a device's file system but for those at the paths and their copies: what keeps the
// device busy when the mounts at the paths are taken away.
func (t Table) Others(n device.Number, paths ...string) Table {
	mounts := t.Of(n)
	rest := mounts.Without(paths...)
	gone := map[int]bool{}
	for _, e := range mounts {
		if slices.ContainsFunc(rest, func(r Entry) bool { return r.id == e.id }) {
			continue
		}
		for _, c := range t.CopiesOf(e) {
			gone[c.id] = true
		}
	}
	return slices.DeleteFunc(rest, func(e Entry) bool { return gone[e.id] })
}
