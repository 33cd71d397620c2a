package suite

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRepository: the definitions and the list of skips in the repository fit each other.
func TestRepository(t *testing.T) {
	dir := filepath.Join("..", "conformance")
	names, err := Definitions(dir)
	if want := []string{"block", "btrfs", "network", "vfs"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("definitions %v, %v; want %v", names, err, want)
	}
	skips, err := readSkips(dir)
	if err != nil || len(skips) == 0 {
		t.Fatalf("%v, %v", skips, err)
	}
	used := map[string]bool{}
	for _, name := range names {
		for _, holds := range []bool{true, false} {
			found, err := skipsOf(skips, name, Conditions{"ext4 does not grow while mounted": holds})
			if err != nil {
				t.Error(err)
			}
			for _, s := range found {
				used[s.Tests] = true
			}
		}
	}
	for _, s := range skips {
		if !used[s.Tests] {
			t.Errorf("no definition has the skip %q: %v", s.Tests, s.Definitions)
		}
	}
}

// TestCheckDriver: a driver's definition says of each capability whether the driver has it, and nothing that the suite does not know.
func TestCheckDriver(t *testing.T) {
	source, dir := t.TempDir(), t.TempDir()
	framework := filepath.Join(source, "test", "e2e", "storage", "framework")
	if err := os.MkdirAll(framework, 0o700); err != nil {
		t.Fatal(err)
	}
	const declared = "const (\n\tCapBlock Capability = \"block\" // raw\n\tCapExec  Capability = \"exec\"\n)\n"
	if err := os.WriteFile(filepath.Join(framework, "testdriver.go"), []byte(declared), 0o600); err != nil {
		t.Fatal(err)
	}
	for content, fault := range map[string]string{
		"DriverInfo:\n  Capabilities: {block: true, exec: false}":            "",
		"DriverInfo:\n  Capabilities: {block: true}":                         "capability exec",
		"DriverInfo:\n  Capabilities: {block: true, exec: true, exek: true}": "no capability exek",
		"DriverInfo:\n  Capability: {block: true}":                           `"Capability"`,
	} {
		if err := os.WriteFile(filepath.Join(dir, "d.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readDefinition(dir, "d", source); (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: %v, want %q", content, err, fault)
		}
	}
}

func TestSkips(t *testing.T) {
	const sound = "- {tests: a, reason: r}\n"
	for name, c := range map[string]struct{ content, fault string }{
		"sound":          {sound, ""},
		"no reason":      {"- {tests: a}\n", "entry 1: tests and reason"},
		"no tests":       {sound + "- {reason: r}\n", "entry 2: tests and reason"},
		"no expression":  {"- {tests: '(', reason: r}\n", "error parsing regexp"},
		"an unknown key": {"- {tests: a, reason: r, because: b}\n", `"because"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, skipsFile), []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := readSkips(dir); (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%v, want %q", err, c.fault)
			}
		})
	}
}

func TestSkipsOf(t *testing.T) {
	all := []Skip{
		{Tests: "everywhere"},
		{Tests: "of one", Definitions: []string{"block"}},
		{Tests: "of the machine", OnlyIf: "small"},
		{Tests: "of another machine", OnlyIf: "large"},
	}
	for definition, want := range map[string][]string{
		"block": {"everywhere", "of one", "of the machine"}, "vfs": {"everywhere", "of the machine"},
	} {
		found, err := skipsOf(all, definition, Conditions{"small": true, "large": false})
		var names []string
		for _, s := range found {
			names = append(names, s.Tests)
		}
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("%s: %v, %v; want %v", definition, names, err, want)
		}
	}
	if _, err := skipsOf(all, "block", Conditions{"small": true}); err == nil {
		t.Error("a condition of which nothing is known is no fault")
	}
}

// report is what the runner writes, cut down.
const report = `[{"RunTime": 60000000000, "SpecialSuiteFailureReasons": null, "SpecReports": [
  {"LeafNodeType": "SynchronizedBeforeSuite", "LeafNodeText": "", "State": "passed"},
  {"ContainerHierarchyTexts": ["External Storage", "[Driver: d]"], "LeafNodeType": "It", "LeafNodeText": "stores data", "State": "passed", "RunTime": 1500000000},
  {"ContainerHierarchyTexts": ["External Storage", "[Driver: d]"], "LeafNodeType": "It", "LeafNodeText": "grows", "State": "skipped"},
  {"ContainerHierarchyTexts": ["External Storage", "[Driver: d]"], "LeafNodeType": "It", "LeafNodeText": "shares", "State": "skipped", "Failure": {"Message": "no RWX"}},
  STATE
  {"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "run", "State": "skipped"}]}]`

func read(t *testing.T, more string, skips []Skip, whole bool) (*Result, error) {
	t.Helper()
	for i := range skips {
		if err := skips[i].check(); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(file, []byte(strings.Replace(report, "STATE", more, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return readResult(file, ofDriver("block", "block.yaml"), skips, whole)
}

func TestResult(t *testing.T) {
	grows := Skip{Tests: `External Storage \[Driver: d\] grows`, Reason: "no kernel", Instead: "a guest"}
	r, err := read(t, "", []Skip{grows}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	var summary, list strings.Builder
	if err := r.Summary(&summary); err != nil {
		t.Error(err)
	}
	if err := r.List(&list); err != nil {
		t.Error(err)
	}
	const wantSummary = "block: 1 passed, 0 failed, 2 skipped, in 1m0s\n" +
		"  1 skipped: no RWX\n  1 skipped: no kernel; instead: a guest\n"
	const wantList = "skipped     0.0 s  [Driver: d] grows\n    no kernel; instead: a guest\n" +
		"skipped     0.0 s  [Driver: d] shares\n    no RWX\n" +
		"passed      1.5 s  [Driver: d] stores data\n"
	if summary.String() != wantSummary {
		t.Errorf("summary\n%s, want\n%s", &summary, wantSummary)
	}
	if list.String() != wantList {
		t.Errorf("list\n%s, want\n%s", &list, wantList)
	}
	if r.Took != time.Minute {
		t.Errorf("took %s", r.Took)
	}
}

// TestFaults: what failed, in a test or outside, is told, and so is an entry of the list of skips that is needed no more.
func TestFaults(t *testing.T) {
	spec := func(kind, state string) string {
		return `{"ContainerHierarchyTexts": ["External Storage"], "LeafNodeType": "` + kind + `", "LeafNodeText": "ends", "State": "` + state + `", "Failure": {"Message": "why"}},`
	}
	for name, c := range map[string]struct {
		more  string
		skips []Skip
		part  bool
		want  string
	}{
		"failed":           {more: spec("It", "failed"), want: "block: failed: ends"},
		"panicked":         {more: spec("It", "panicked"), want: "block: panicked: ends"},
		"timed out":        {more: spec("It", "timedout"), want: "block: timedout: ends"},
		"outside":          {more: spec("SynchronizedBeforeSuite", "failed"), want: "SynchronizedBeforeSuite failed: why"},
		"useless skip":     {skips: []Skip{{Tests: "shrinks", Reason: "r"}}, want: `no test that "shrinks"`},
		"a part was asked": {skips: []Skip{{Tests: "shrinks", Reason: "r"}}, part: true},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := read(t, c.more, c.skips, !c.part)
			if err == nil {
				err = r.Err()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if err := (&Result{Definition: "block"}).Err(); err == nil {
		t.Error("a run without a test that passed holds")
	}
}
