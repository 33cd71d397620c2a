package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/durable"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	temporary, path := filepath.Join(dir, ".new"), filepath.Join(dir, "file")
	for _, c := range []struct {
		content string
		mode    fs.FileMode
	}{{"old and long", 0o600}, {"new", 0o666}, {"", 0o640}} {
		// A kill left this, readable by everybody.
		if err := os.WriteFile(temporary, []byte("a part of something that was longer"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := durable.Replace(temporary, path, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, statErr := os.Stat(path)
		if err := errors.Join(err, statErr); err != nil {
			t.Fatal(err)
		}
		if string(got) != c.content || info.Mode() != c.mode {
			t.Errorf("%q with mode %v, want %q with %v", got, info.Mode(), c.content, c.mode)
		}
		if _, err := os.Lstat(temporary); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the temporary file is still there: %v", err)
		}
	}
}

// TestReplaceThatFails: what was there stays, and nothing else is left.
func TestReplaceThatFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := durable.Replace(filepath.Join(dir, ".new"), path, []byte("x"), 0o600); !errors.Is(err, syscall.EEXIST) && !errors.Is(err, syscall.EISDIR) {
		t.Errorf("over a directory: %v", err)
	}
	if err := durable.Replace(filepath.Join(dir, "none", ".new"), path, []byte("x"), 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || entries[0].Name() != "file" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestSyncDir(t *testing.T) {
	if err := durable.SyncDir(t.TempDir()); err != nil {
		t.Error(err)
	}
	if err := durable.SyncDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}
