package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/loop"
)

// snapshot is everything of the machine that a cluster could leave behind, as
// lines: the kind of thing and the thing.
type snapshot map[string]bool

// takeSnapshot looks at the whole machine, not only at what the cluster is known to make.
func takeSnapshot(t *testing.T) snapshot {
	t.Helper()
	s := snapshot{}
	for _, take := range []func(snapshot) error{
		processes, mounts, cgroups, links, firewall, sysctls, loops, files,
	} {
		if err := take(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// sameAs waits until the machine is as in the snapshot: the kernel removes some things a moment later.
func (s snapshot) sameAs(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		var diff []string
		now := takeSnapshot(t)
		for line := range now {
			if !s[line] {
				diff = append(diff, "new: "+line)
			}
		}
		for line := range s {
			// Processes and cgroups of others may end at any time.
			if !now[line] && !strings.HasPrefix(line, "process") && !strings.HasPrefix(line, "cgroup") {
				diff = append(diff, "gone: "+line)
			}
		}
		if len(diff) == 0 {
			return
		}
		if time.Now().After(deadline) {
			slices.Sort(diff)
			t.Fatalf("the machine is not as it was:\n%s", strings.Join(diff, "\n"))
		}
		time.Sleep(500 * time.Millisecond) // between two looks at the machine
	}
}

// processes are those that have to do with a run's directory or live in a cluster's
// cgroup, as all of a cluster do, containers included; the rest is none of our business.
func processes(s snapshot) error {
	dir, err := cache.Dir()
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, "runs") + "/"
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, p := range pids {
		line, _ := os.ReadFile(p + "/cmdline") // it may have ended
		groups, _ := os.ReadFile(p + "/cgroup")
		others := strings.Contains(string(groups), boxTestGroup)
		if !others && (strings.Contains(string(line), dir) || strings.Contains(string(groups), "/cpv-")) {
			s["process "+filepath.Base(p)+" "+strings.ReplaceAll(string(line), "\x00", " ")] = true
		}
	}
	return nil
}

// boxTestGroup is in the path of the cgroups of the boxes' own test, which may run at the same time.
const boxTestGroup = "/cpv-box-test-"

// othersTest tells paths of other tests, which may run at the same time: all that
// a cluster makes is in the cache directory.
func othersTest(path string) bool { return strings.HasPrefix(path, os.TempDir()+"/") }

func mounts(s snapshot) error {
	content, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); !othersTest(fields[4]) {
			s["mount "+fields[4]+" "+fields[3]] = true
		}
	}
	return err
}

// cgroups are the empty ones: what is left of something. One with a process is in
// use, by others or, if by us, known by that process.
func cgroups(s snapshot) error {
	hierarchies, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		err := filepath.WalkDir(h, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() || strings.Contains(path, boxTestGroup) {
				return nil // groups may vanish while they are looked at
			}
			inside, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if err == nil && strings.TrimSpace(string(inside)) == "" {
				s["cgroup "+path] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func links(s snapshot) error {
	entries, err := os.ReadDir("/sys/class/net")
	for _, e := range entries {
		s["link "+e.Name()] = true
	}
	names, globErr := filepath.Glob("/run/netns/*")
	for _, name := range names {
		s["network namespace "+name] = true
	}
	if err == nil {
		err = globErr
	}
	return err
}

// firewall asks by the workers' own tools: the machine may have none.
func firewall(s snapshot) error {
	dir, err := cache.Dir()
	if err != nil {
		return err
	}
	roots, err := filepath.Glob(filepath.Join(dir, "unpacked-rootfs-*"))
	if err != nil || len(roots) == 0 {
		return err
	}
	out, err := exec.Command("chroot", roots[0], "nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		return fmt.Errorf("nft list ruleset: %w: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "counter") {
			s["firewall "+strings.TrimSpace(line)] = true
		}
	}
	return nil
}

// volatile are settings that change by themselves.
var volatile = []string{
	"fs/dentry-state", "fs/file-nr", "fs/inode-", "fs/aio-nr", "fs/quota", "fs/binfmt_misc", "kernel/random/", "kernel/ns_last_pid",
	"kernel/pty/nr", "kernel/keys/", "kernel/sched_", "kernel/perf_event_max_sample_rate", "kernel/perf_cpu", "kernel/tainted",
	"net/netfilter/nf_conntrack_count", "vm/stat_refresh", "vm/drop_caches", "vm/compact_memory", "net/ipv6/conf/", "net/ipv4/conf/", "net/ipv4/neigh/", "net/ipv6/neigh/",
}

func sysctls(s snapshot) error {
	const root = "/proc/sys/"
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // some cannot be read by anyone
		}
		name := strings.TrimPrefix(path, root)
		for _, v := range volatile {
			if strings.HasPrefix(name, v) {
				return nil
			}
		}
		if value, err := os.ReadFile(path); err == nil {
			s["sysctl "+name+" = "+strings.TrimSpace(string(value))] = true
		}
		return nil
	})
}

func loops(s snapshot) error {
	devices, err := loop.List()
	for _, d := range devices {
		if !othersTest(d.Backing) {
			s["loop device on "+d.Backing] = true
		}
	}
	return err
}

// files are those in the places where programs like these leave any. Loop devices'
// nodes are the kernel's: it makes one when it needs one more and keeps it.
func files(s snapshot) error {
	for _, root := range []string{"/run", "/etc", "/opt", "/mnt", "/srv", "/var/lib", "/var/log", "/usr/libexec", "/usr/local", "/dev"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return nil // it vanished
			case path == "/dev/pts", path == "/usr/local/go", strings.HasPrefix(path, "/var/lib/apt/"), strings.HasPrefix(path, "/var/lib/dpkg/"):
				return fs.SkipDir
			case !strings.HasPrefix(path, "/dev/loop"):
				s["file "+path] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	dir, err := cache.Dir()
	if err != nil {
		return err
	}
	runs, err := filepath.Glob(filepath.Join(dir, "runs", "*"))
	for _, r := range runs {
		s["run "+r] = true
	}
	return err
}
