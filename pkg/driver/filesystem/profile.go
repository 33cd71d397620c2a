package filesystem

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Release is the release of a kernel, such as 6.1.
type Release struct{ Major, Minor int }

// Floor is the oldest kernel on which whatever was made on any node can be mounted: volumes move between nodes, and the
// tools of this image are newer than some kernels. It is 5.4 because that costs nothing: what this driver wants of the
// formats is older, and what came in the kernels after it is only in those from 5.15 on. Red Hat's 4.18, which has more
// than its number says, mounts it too.
var Floor = Release{5, 4}

// Before reports whether a kernel is older than another.
func (r Release) Before(other Release) bool {
	return r.Major < other.Major || r.Major == other.Major && r.Minor < other.Minor
}

// String is the form of Release that uname shows.
func (r Release) String() string { return fmt.Sprintf("%d.%d", r.Major, r.Minor) }

// ParseRelease reads the beginning of what uname shows, such as 6.1.0-13-cloud-amd64.
func ParseRelease(text string) (Release, error) {
	var r Release
	if _, err := fmt.Sscanf(text, "%d.%d", &r.Major, &r.Minor); err != nil {
		return Release{}, fmt.Errorf("%q is not the release of a kernel", text)
	}
	return r, nil
}

// OldestToMount is the oldest kernel that must be able to mount what is made here: the floor, or the running one where
// that is older still. Of a kernel that does not tell its release the floor is assumed.
func OldestToMount() Release {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return Floor
	}
	running, err := ParseRelease(unix.ByteSliceToString(name.Release[:]))
	if err != nil || Floor.Before(running) {
		return Floor
	}
	return running
}

// feature is a part of a format that a kernel has to know.
type feature struct {
	name string
	// since is the first kernel on which it can be relied.
	since Release
}

// features are what the formats can have, by file system and option of its mkfs. They are all switched on or off by name:
// what a newer version of the tools, or its configuration file, makes its default is not.
//
// The kernels are those in the tools' own lists: ext4(5), the profiles lts_*.conf of xfsprogs, and mkfs.btrfs -O list-all.
// ext4's metadata_csum_seed is left out: it only saves the time of a change of UUID.
var features = map[string]map[string][]feature{
	"ext4": {"-O": {
		{"has_journal", Release{2, 6}},
		{"ext_attr", Release{2, 6}},
		{"resize_inode", Release{2, 6}},
		{"dir_index", Release{2, 6}},
		{"filetype", Release{2, 6}},
		{"sparse_super", Release{2, 6}},
		{"large_file", Release{2, 6}},
		{"extent", Release{3, 2}},
		{"flex_bg", Release{3, 2}},
		{"huge_file", Release{3, 2}},
		{"dir_nlink", Release{3, 2}},
		{"extra_isize", Release{3, 2}},
		{"64bit", Release{3, 2}},
		{"metadata_csum", Release{3, 18}},
		{"orphan_file", Release{5, 15}},
	}},
	"xfs": {
		"-m": {
			{"crc", Release{3, 15}},
			{"finobt", Release{3, 16}},
			{"reflink", Release{4, 16}},
			{"inobtcount", Release{5, 15}},
			{"bigtime", Release{5, 15}},
			{"rmapbt", Release{6, 6}},
		},
		"-i": {{"sparse", Release{4, 10}}, {"nrext64", Release{6, 6}}},
	},
	"btrfs": {
		"-O": {{"extref", Release{3, 12}}, {"skinny-metadata", Release{3, 18}}, {"no-holes", Release{4, 0}}},
		"-R": {{"free-space-tree", Release{4, 9}}},
	},
}

// profile is what the options of mkfs say of features, for what has to be mounted on a kernel.
func profile(fsType, option string, kernel Release) string {
	var words []string
	for _, f := range features[fsType][option] {
		has := !kernel.Before(f.since)
		switch {
		case fsType == "xfs":
			words = append(words, f.name+"="+map[bool]string{true: "1", false: "0"}[has])
		case has:
			words = append(words, f.name)
		case fsType == "btrfs":
			words = append(words, "^"+f.name)
		}
	}
	if fsType == "ext4" { // "none" takes back every default, of which some have names that older tools do not know
		words = append([]string{"none"}, words...)
	}
	return strings.Join(words, ",")
}
