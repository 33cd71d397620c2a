package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const id = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"

func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "Open")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Intent{VolumeID: id, Serial: "s", FSType: "xfs", BootID: "b"}
	for range 2 {
		if err := s.WriteIntent(want); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WriteStaged(Staged{VolumeID: id, Serial: "s", Block: true}); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Intent(strings.ToUpper(id)); err != nil || got == nil || *got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := again.Staged(id); err != nil || got == nil || !got.Block {
		t.Errorf("got %+v, %v", got, err)
	}
	for range 2 {
		if err := again.ClearIntent(id); err != nil {
			t.Fatal(err)
		}
		if err := again.ClearStaged(id); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Intent(id); err != nil || got != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestUnfinishedFilesGo: what a process that was killed in the middle of a write left does not stay for ever, and what is
// no such file does.
func TestUnfinishedFilesGo(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteStaged(Staged{VolumeID: id, Serial: "s"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{unfinished + "1", probing + "2", "foreign"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	hidden, hiddenErr := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || hiddenErr != nil || len(left) != 2 || len(hidden) != 0 {
		t.Errorf("left are %s and %s", left, hidden)
	}
}

func TestNamesStayInTheDirectory(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "../x", "a/b", ".hidden", "a\x00b"} {
		if err := s.WriteIntent(Intent{VolumeID: bad}); err == nil {
			t.Errorf("a record named %q was written", bad)
		}
	}
}

func TestBrokenRecordIsAnError(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, id+".intent.json")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Intent(id); err == nil || !strings.Contains(err.Error(), "remove the file "+file) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "dir")); err == nil {
		t.Error("a directory below a file was opened")
	}
}

func TestBootID(t *testing.T) {
	if boot, err := BootID(); err != nil || len(boot) != 36 {
		t.Errorf("got %q, %v", boot, err)
	}
}
