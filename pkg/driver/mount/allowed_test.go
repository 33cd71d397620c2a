package mount

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testloop"
)

var update = flag.Bool("update", false, "write the table of mount options in docs/block-volumes.md again")

func TestCheckOptions(t *testing.T) {
	for _, c := range []struct {
		fsType, option string
	}{
		{"", "ro"},
		{"", "data=journal"},
		{"", "inode64"},
		{"ext4", "noatime"},
		{"ext4", "commit=30"},
		{"ext4", "errors=remount-ro"},
		{"ext4", "barrier"},
		{"ext4", "barrier=0"},
		{"ext4", "init_itable=10"},
		{"ext4", "x-systemd.device-timeout=10"},
		{"ext4", "x-note"},
		{"xfs", "allocsize=64m"},
		{"xfs", "nouuid"},
		{"xfs", "logbufs=8"},
		{"xfs", label},
		{"xfs", "context=system_u:object_r:container_file_t:s0"},
		{"btrfs", "compress=zstd:3"},
		{"btrfs", "compress"},
		{"btrfs", "compress=no"},
		{"", "nofail"},
		{"", "_netdev"},
	} {
		if err := CheckOptions(c.fsType, []string{c.option}); err != nil {
			t.Errorf("%s: %v", c.fsType, err)
		}
	}
	for _, c := range []struct {
		fsType, option, words string
	}{
		{"ext4", "inode64", "not possible with ext4"},
		{"xfs", "data=journal", "not possible with xfs"},
		{"ext4", "errors=panic", "stops the whole machine"},
		{"", "errors=panic", "stops the whole machine"},
		{"xfs", "logdev=/dev/vdb", "another device"},
		{"xfs", "rtdev=/dev/vdb", "another device"},
		{"ext4", "journal_path=/dev/vdb", "a file"},
		{"ext4", "journal_dev=0x801", "another device"},
		{"ext4", "usrjquota=aquota.user", "a file"},
		{"ext4", "helper=sh", "a program"},
		{"ext4", "verity.hashdevice=/dev/vdb", "another device"},
		{"ext4", "X-mount.mkdir", "more than mounting"},
		{"ext4", "X-mount.subdir=x", "more than mounting"},
		{"ext4", "x-mount.mkdir", "more than mounting"},
		{"ext4", "loop", "another device"},
		{"ext4", "loop=/dev/loop0", "another device"},
		{"ext4", "offset=512", "another device"},
		{"ext4", "bind", "something else"},
		{"ext4", "remount", "something else"},
		{"ext4", "rshared", "something else"},
		{"ext4", "noload", "journal"},
		{"xfs", "norecovery", "journal"},
		{"btrfs", "device=/dev/vdb", "another device"},
		{"btrfs", "subvol=a", "subPath"},
		{"ext4", "user", "unmount"},
		{"ext4", "", "empty"},
		{"ext4", "ro=1", "value"},
		{"ext4", "commit", "value"},
		{"ext4", "commit=", "value"},
		{"ext4", "commit=1k", "value"},
		{"ext4", "commit=/etc", "value"},
		{"ext4", "commit=99999999999", "value"},
		{"ext4", "data=ordered ", "value"},
		{"ext4", "data=ordered|journal", "value"},
		{"ext4", "data=ORDERED", "value"},
		{"ext4", "barrier=2", "value"},
		{"ext4", "init_itable=N", "value"},
		{"xfs", "allocsize=SIZE", "value"},
		{"xfs", "logbsize=-1", "value"},
		{"btrfs", "compress=zstd:N", "value"},
		{"btrfs", "compress=zstd:", "value"},
		{"btrfs", "compress=lzo:3", "value"},
		{"ext4", "rootcontext=@target", "value"},
		{"ext4", "context=a/b", "value"},
		{"ext4", "context=a,b", "value"},
		{"ext4", "context=LABEL x", "value"},
		{"ext4", `context="a b"`, "value"},
		{"ext4", "x-a b", "characters"},
		{"ext4", "x-a=\n", "characters"},
		{"ext4", "x-systemd.requires=/etc", "characters"},
		{"ext4", "no such", "not possible"},
		{"ext4", "NOATIME", "not possible"},
		{"ext4", "noatime\x00", "not possible"},
	} {
		err := CheckOptions(c.fsType, []string{"noatime", c.option})
		if err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.option)) && c.option != "" ||
			!strings.Contains(err.Error(), "docs/block-volumes.md") {
			t.Errorf("%s %q: %v", c.fsType, c.option, err)
		}
	}
	if err := CheckOptions("ext4", []string{"ro", "rw"}); err == nil {
		t.Error("ro and rw are possible at once")
	}
}

// FuzzCheckOptions: what passes can lead nowhere else.
func FuzzCheckOptions(f *testing.F) {
	for _, o := range []string{"ro", "commit=5", label, "x-a=b", "logdev=/dev/vdb", "compress=zstd:3", "context=a,b"} {
		f.Add(o)
	}
	f.Fuzz(func(t *testing.T, option string) {
		if CheckOptions("", []string{option}) != nil {
			return
		}
		if strings.ContainsAny(option, "/\\@'$ \t\n\x00") || strings.ContainsAny(option, `,"`) && !labels([]string{option}) {
			t.Errorf("%q passes", option)
		}
	})
}

// TestDocumentedOptions compares the table that users read with the one that decides.
func TestDocumentedOptions(t *testing.T) {
	const path, begin, end = "../../../docs/block-volumes.md", "TestDocumentedOptions -update -->\n", "<!-- end -->"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	var want strings.Builder
	want.WriteString("\n| file system | mount options |\n|---|---|\n")
	for _, fsType := range slices.Sorted(maps.Keys(Allowed)) {
		var options []string
		for _, name := range slices.Sorted(maps.Keys(Allowed[fsType])) {
			switch values := string(Allowed[fsType][name]); {
			case values == "":
			case values[0] == '[':
				name += "[=" + strings.Trim(values, "[]") + "]"
			default:
				name += "=" + values
			}
			options = append(options, "`"+strings.ReplaceAll(name, "|", `\|`)+"`")
		}
		of := fsType
		if fsType == Generic {
			of = "all"
		}
		fmt.Fprintf(&want, "| %s | %s |\n", of, strings.Join(options, ", "))
	}
	want.WriteString("\n")
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want.String()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want.String() {
		t.Errorf("%s has\n%s\nwant (go test -update writes it)\n%s", path, got, want.String())
	}
}

// TestAllowedOptionsAreKnown mounts real file systems with what is allowed, one option after the other: an option that
// this kernel does not know is a mistake in the table.
func TestAllowedOptionsAreKnown(t *testing.T) {
	tr := newTree(t)
	shown := map[string]bool{}
	for name := range strings.FieldsSeq("ro rw nosuid nodev noexec nosymfollow noatime nodiratime sync dirsync lazytime discard inode32 wsync nodelalloc") {
		shown[name] = true
	}
	passed := map[string]bool{}
	for name := range strings.FieldsSeq(
		"context fscontext defcontext rootcontext " + // a kernel with SELinux
			"attr2 noattr2 noacl nouser_xattr " + // kernels that are older
			"journal_async_commit prjquota " + // together with another option, or a feature of the file system
			"sunit swidth " + // only together, and for an array of disks
			"quota uquota usrquota gquota grpquota pquota qnoenforce uqnoenforce gqnoenforce pqnoenforce", // a kernel with quotas
	) {
		passed[name] = true
	}
	for fsType, mkfs := range map[string][]string{"ext4": {"mkfs.ext4", "-q"}, "xfs": {"mkfs.xfs", "-q", "-f"}, "btrfs": {"mkfs.btrfs", "-q", "-f"}} {
		image, point := filepath.Join(t.TempDir(), "image"), tr.path(fsType)
		tr.must(os.WriteFile(image, nil, 0o600))
		tr.must(os.Truncate(image, 400<<20))
		run(t, mkfs[0], append(mkfs[1:], image)...)
		device := testloop.Device(t, image)
		for _, table := range []string{Generic, fsType} {
			for name, values := range Allowed[table] {
				if passed[name] {
					continue
				}
				option := name
				switch {
				case values == Number:
					option += "=8"
				case values == Size:
					option += "=64k"
				case values != None && values[0] != '[':
					first, _, _ := strings.Cut(string(values), "|")
					option += "=" + first
				}
				if err := FileSystem(t.Context(), device, point, fsType, []string{option}); err != nil {
					t.Errorf("%s: %v", fsType, err)
					continue
				}
				if option == name && shown[name] {
					table, err := Read()
					tr.must(err)
					e, _ := table.At(point)
					if !slices.Contains(e.Options, name) && !slices.Contains(e.SuperOptions, name) {
						t.Errorf("%s: %s has no effect: %q, %q", fsType, name, e.Options, e.SuperOptions)
					}
				}
				tr.must(Unmount(t.Context(), point))
			}
		}
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}
