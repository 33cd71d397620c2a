// Package mount shows what is mounted where, and mounts, binds and unmounts.
//
// Mounts are compared by device number, never by the name of a device: names are reused, and a name in one mount
// namespace means nothing in another.
package mount

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	mountutils "k8s.io/mount-utils"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// procMountInfo shows the mounts of this process' namespace.
const procMountInfo = "/proc/self/mountinfo"

// Entry is one mount.
type Entry struct {
	// Number is the device of the mounted file system. That of a btrfs is its disk's, or one of its own, with the major
	// number 0, when its disk is not known.
	Number device.Number
	// Lost is set for a btrfs whose disk is proven to be gone from the kernel. Other file systems keep the number of the disk
	// that they had.
	Lost bool
	// Root is the directory or file of that file system which is seen at Path; "/" for all of it.
	Root string
	Path string
	// FSType is the type of the file system.
	FSType string
	// Source is what was mounted, in the words of who did it. It is no identity.
	Source string
	// Options are those of this mount, SuperOptions those of the file system.
	Options      []string
	SuperOptions []string

	id, parent int
	// peers is the group of mounts that exchange what is mounted below them, 0 when there is none. masters are the groups
	// from which this mount only receives.
	peers   int
	masters []int
}

// Key tells the mount from every other one that there is, also from one that was at its path before and that somebody still
// has in use.
func (e Entry) Key() string { return e.Path + " as mount " + strconv.Itoa(e.id) }

// ReadOnly reports whether nothing can be written through this mount.
func (e Entry) ReadOnly() bool {
	return slices.Contains(e.Options, "ro") || slices.Contains(e.SuperOptions, "ro")
}

// Table is all mounts, in the order in which they were made.
type Table []Entry

// Read gives the mounts of this process' namespace.
func Read() (Table, error) {
	infos, err := mountutils.ParseMountInfo(procMountInfo)
	if err != nil {
		return nil, err
	}
	table := make(Table, 0, len(infos))
	for _, i := range infos {
		table = append(table, Entry{
			Number: device.Number{Major: uint32(i.Major), Minor: uint32(i.Minor)}, //nolint:gosec // 32 bits in the kernel
			Root:   unescape(i.Root), Path: unescape(i.MountPoint), FSType: i.FsType,
			Source: unescape(i.Source), Options: i.MountOptions, SuperOptions: i.SuperOptions,
			id: i.ID, parent: i.ParentID, peers: group(i.OptionalFields, "shared"),
			masters: slices.DeleteFunc([]int{group(i.OptionalFields, "master"), group(i.OptionalFields, "propagate_from")}, func(g int) bool { return g == 0 }),
		})
	}
	table.nameDisks(sysfsBtrfs)
	return table, nil
}

// unescape undoes the kernel's octal escapes for blanks and the like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// At gives the mount that is seen at exactly this path: of several on top of each other the last.
func (t Table) At(path string) (Entry, bool) {
	path = resolve(path)
	for _, e := range slices.Backward(t) {
		if e.Path == path {
			return e, true
		}
	}
	return Entry{}, false
}

// Of lists the mounts of a device's file system.
func (t Table) Of(n device.Number) Table {
	var of Table
	for _, e := range t {
		if e.Number == n {
			of = append(of, e)
		}
	}
	return of
}

// Without leaves out the mounts at the paths.
func (t Table) Without(paths ...string) Table {
	resolved := make([]string, 0, len(paths))
	for _, p := range paths {
		resolved = append(resolved, resolve(p))
	}
	var rest Table
	for _, e := range t {
		if !slices.Contains(resolved, e.Path) {
			rest = append(rest, e)
		}
	}
	return rest
}

// Paths lists where the mounts are.
func (t Table) Paths() []string {
	var paths []string
	for _, e := range t {
		paths = append(paths, e.Path)
	}
	return paths
}

// resolve gives the form in which the kernel lists a path: links in its directory followed. The last element is
// kept, as it may be a mount that no longer answers.
func resolve(path string) string {
	path = filepath.Clean(path)
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path
	}
	return filepath.Join(parent, filepath.Base(path))
}
