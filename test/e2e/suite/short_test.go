package suite

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestShortOfRepository: the list in the repository names tests of definitions that there are.
func TestShortOfRepository(t *testing.T) {
	dir := filepath.Join("..", "conformance")
	short, err := ReadShort(dir)
	if err != nil {
		t.Fatal(err)
	}
	known, err := Definitions(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, definition := range short.Definitions() {
		if !slices.Contains(known, definition) {
			t.Errorf("%s names tests of %s; there are the definitions %v", shortFile, definition, known)
		}
	}
	for _, definition := range []string{"block", "network", "vfs"} {
		if len(short[definition]) == 0 {
			t.Errorf("%s names no test of %s", shortFile, definition)
		}
	}
}

func TestReadShort(t *testing.T) {
	for name, c := range map[string]struct{ content, fault string }{
		"sound":         {"block: [stores data]\n", ""},
		"empty":         {"", "no test is named"},
		"no test":       {"block: []\n", "no test is named for block"},
		"no expression": {"block: ['(']\n", "error parsing regexp"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, shortFile), []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadShort(dir); (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%v, want %q", err, c.fault)
			}
		})
	}
}

// TestShortCheck: what is named has to have passed, each for itself.
func TestShortCheck(t *testing.T) {
	r, err := read(t, "", nil, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		short Short
		fault string
	}{
		"passed":             {Short{"block": {"stores data$"}}, ""},
		"skipped":            {Short{"block": {"stores data$", "grows$"}}, `"grows$"`},
		"unknown":            {Short{"block": {"stores data$", "shrinks$"}}, `"shrinks$"`},
		"another definition": {Short{"vfs": {"shrinks$"}}, ""},
	} {
		if err := c.short.Check(r); (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v, want %q", name, err, c.fault)
		}
	}
	if focus := (Short{"block": {"a", "b"}}).Focus("block"); focus != "a|b" {
		t.Errorf("focus %q", focus)
	}
	if ran := r.Ran(); len(ran) != 1 || ran[0] != "passed in 1.5 s: [Driver: d] stores data" {
		t.Errorf("ran: %q", ran)
	}
}

// TestShortNames: each entry names one test, by the text that the suite of Kubernetes 1.37 gives it. What its framework knows as a
// label, such as Slow, stands at the end of that.
func TestShortNames(t *testing.T) {
	short, err := ReadShort(filepath.Join("..", "conformance"))
	if err != nil {
		t.Fatal(err)
	}
	const driver = "[Driver: block.csi.vultr.com] "
	for definition, names := range map[string][]string{
		"block": {
			driver + "[Testpattern: Dynamic PV (default fs)] volumes should store data",
			driver + "[Testpattern: Dynamic PV (xfs)] volumes should store data [Slow]",
			driver + "[Testpattern: Dynamic PV (block volmode)] volumes should store data",
			driver + "[Testpattern: Dynamic PV (default fs)] provisioning should provision storage with snapshot data source [Feature:VolumeSnapshotDataSource]",
			driver + "[Testpattern: Dynamic PV (default fs)] subPath should support existing directory",
			driver + "[Testpattern: Dynamic PV (default fs)] read-write-once-pod should block a second pod from using an in-use ReadWriteOncePod volume on the same node",
			driver + "[Testpattern: Dynamic PV (block volmode)(allowExpansion)] volume-expand should resize volume when PVC is edited while pod is using it",
		},
		"network": {
			balancers + "should be able to change the type and ports of a TCP service [Slow]",
			balancers + "should only allow access from service loadbalancer source ranges [Slow]",
			local + "should work from pods [Slow]",
		},
		"vfs": {
			driver + "[Testpattern: Dynamic PV (default fs)] volumes should store data",
			driver + "[Testpattern: Dynamic PV (filesystem volmode)] multiVolume should concurrently access the single volume from pods on different node [Slow]",
			driver + "[Testpattern: Dynamic PV (filesystem volmode)] multiVolume should concurrently access the single read-only volume from pods on the same node [Slow]",
			driver + "[Testpattern: Dynamic PV (default fs)(allowExpansion)] volume-expand should resize volume when PVC is edited while pod is using it",
		},
	} {
		if len(short[definition]) != len(names) {
			t.Errorf("%s of %s names %d tests, %d are known here", definition, shortFile, len(short[definition]), len(names))
		}
		for _, entry := range short[definition] {
			pattern := regexp.MustCompile(entry) // ReadShort has tried it
			misses := func(name string) bool { return !pattern.MatchString(name) }
			if left := slices.DeleteFunc(slices.Clone(names), misses); len(left) != 1 {
				t.Errorf("%s: %q matches %q", definition, entry, left)
			}
		}
	}
}
