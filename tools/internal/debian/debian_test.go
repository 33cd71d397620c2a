package debian

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSourcesAreThoseOfTheRelease(t *testing.T) {
	apt := t.TempDir()
	write(t, apt+"/sources.list", "# deb mirror bookworm main\ndeb http://mirror.example/debian bookworm main\n")
	write(t, apt+"/sources.list.d/debian.sources", "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n")
	write(t, apt+"/sources.list.d/vendor.list", "deb https://vendor.example/apt cloud-sdk-bookworm main\n")
	write(t, apt+"/sources.list.d/other.sources", "Types: deb\nSuites: nodistro\n")
	write(t, apt+"/sources.list.d/debian.sources.save", "Suites: bookworm\n")
	got, err := Sources(apt, "bookworm")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{apt + "/sources.list", apt + "/sources.list.d/debian.sources"}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("Sources() = %v, want %v", got, want)
	}
	if _, err := Sources(apt, "trixie"); err == nil || !strings.Contains(err.Error(), "trixie") {
		t.Errorf("Sources() of another release = %v", err)
	}
}

func TestCodename(t *testing.T) {
	file := filepath.Join(t.TempDir(), "os-release")
	write(t, file, "ID=debian\nVERSION_CODENAME=bookworm\n")
	if got, err := Codename(file); err != nil || got != "bookworm" {
		t.Errorf("Codename() = %q, %v", got, err)
	}
	write(t, file, "ID=other\n")
	if _, err := Codename(file); err == nil {
		t.Error("a release without a name was accepted")
	}
}

func TestCachePathDependsOnWhatIsInside(t *testing.T) {
	source := filepath.Join(t.TempDir(), "sources.list")
	write(t, source, "deb http://mirror.example bookworm main\n")
	root := RootFS{Codename: "bookworm", Architecture: "amd64", Packages: []string{"a", "b"}, Sources: []string{source}}
	path := func(r RootFS) string {
		t.Helper()
		p, err := r.CachePath("cache")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, swapped := path(root), root
	swapped.Packages = []string{"b", "a"}
	if path(swapped) != first {
		t.Error("the order of packages counts")
	}
	more := root
	more.Packages = []string{"a", "b", "c"}
	if path(more) == first {
		t.Error("another package does not count")
	}
	whole := root
	whole.Variant = "minbase"
	if path(whole) == first {
		t.Error("the variant does not count")
	}
	write(t, source, "deb http://other.example bookworm main\n")
	if path(root) == first {
		t.Error("another mirror does not count")
	}
}

func TestAFailedBuildLeavesNothing(t *testing.T) {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("mmdebstrap is not installed")
	}
	output := filepath.Join(t.TempDir(), "rootfs.tar")
	source := filepath.Join(t.TempDir(), "empty.list")
	write(t, source, "deb [trusted=yes] copy:///nonexistent bookworm main\n")
	root := RootFS{Codename: "bookworm", Architecture: "amd64", Packages: []string{"mount"}, Sources: []string{source}}
	if err := root.Build(t.Context(), output, io.Discard); err == nil {
		t.Error("a build from a mirror that is not there succeeded")
	}
	left, err := filepath.Glob(filepath.Dir(output) + "/*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestToolsRunFromTheRootFS makes the root file system of the node's image, or
// takes it from the cache, and runs its tools on a disk image in it.
func TestToolsRunFromTheRootFS(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("chroot needs root")
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("mmdebstrap is not installed")
	}
	dir := unpack(t, rootfs(t))
	for _, d := range []string{"tmp", "proc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// As in every container: e2fsprogs ask there what is mounted.
	proc := filepath.Join(dir, "proc")
	if err := syscall.Mount("proc", proc, "proc", syscall.MS_RDONLY, ""); err != nil {
		t.Skip("proc can't be mounted: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(proc, 0); err != nil {
			t.Error(err)
		}
	})
	for fs, size := range map[string]int64{"ext4": 16 << 20, "xfs": 300 << 20, "btrfs": 300 << 20} {
		image := filepath.Join(dir, "tmp", fs)
		write(t, image, "")
		if err := os.Truncate(image, size); err != nil {
			t.Fatal(err)
		}
		inside := "/tmp/" + fs
		chroot(t, dir, "mkfs."+fs, inside)
		if got := chroot(t, dir, "blkid", "-p", "-s", "TYPE", "-o", "value", inside); got != fs {
			t.Errorf("blkid says %q of what mkfs.%s made", got, fs)
		}
	}
	for _, command := range [][]string{
		{"resize2fs", "/tmp/ext4"},
		{"xfs_growfs", "-V"},
		{"tune2fs", "-l", "/tmp/ext4"},
		{"e2fsck", "-n", "/tmp/ext4"},
		{"xfs_repair", "-n", "/tmp/xfs"},
		{"btrfs", "check", "--readonly", "/tmp/btrfs"},
	} {
		chroot(t, dir, command...)
	}
}

// rootfs is the path of the node image's root file system.
func rootfs(t *testing.T) string {
	t.Helper()
	codename, err := Codename("/etc/os-release")
	if err != nil {
		t.Skip(err)
	}
	sources, err := Sources("/etc/apt", codename)
	if err != nil {
		t.Skip(err)
	}
	arch, err := exec.CommandContext(t.Context(), "dpkg", "--print-architecture").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := RootFS{
		Codename: codename, Architecture: strings.TrimSpace(string(arch)), Sources: sources,
		Packages: []string{"e2fsprogs", "xfsprogs", "btrfs-progs", "util-linux"},
	}
	path, err := root.CachePath(filepath.Join(cache, "cloud-provider-vultr"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := root.Build(t.Context(), path, t.Output()); err != nil {
		t.Fatal(err)
	}
	return path
}

// unpack extracts a tar with the machine's own tar, which knows links and owners.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	command := exec.CommandContext(t.Context(), "tar", "-xf", archive, "-C", dir, "--exclude=./dev/*")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return dir
}

// chroot runs a command in the directory and returns what it prints.
func chroot(t *testing.T, dir string, command ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "chroot", append([]string{dir}, command...)...)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("%v: %v: %s", command, err, exit.Stderr)
		}
		t.Fatalf("%v: %v", command, err)
	}
	return strings.TrimSpace(string(out))
}

// TestTheTarIsWhole: every entry can be read to its end.
func TestTheTarIsWhole(t *testing.T) {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("mmdebstrap is not installed")
	}
	file, err := os.Open(rootfs(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}()
	for r := tar.NewReader(file); ; {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
