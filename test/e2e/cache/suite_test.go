package cache

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLinkAlternatives: a program gets the name under which it is called, where it is unpacked, and nothing gets one elsewhere.
func TestLinkAlternatives(t *testing.T) {
	with, without := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(with, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(with, "bin", "nc.openbsd"), []byte("nc"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{with, without} {
		if err := linkAlternatives(root); err != nil {
			t.Fatal(err)
		}
	}
	if content, err := os.ReadFile(filepath.Join(with, "bin", "nc")); err != nil || string(content) != "nc" {
		t.Errorf("%q, %v", content, err)
	}
	if left, err := os.ReadDir(without); err != nil || len(left) != 0 {
		t.Errorf("a root without the program has %v, %v", left, err)
	}
}

// TestTryOnce: wget's own configuration stays, and where there is no wget there is none.
func TestTryOnce(t *testing.T) {
	with, without := t.TempDir(), t.TempDir()
	config := filepath.Join(with, "etc", "wgetrc")
	if err := os.Mkdir(filepath.Dir(config), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte("passive_ftp = on"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{with, without} {
		if err := tryOnce(root); err != nil {
			t.Fatal(err)
		}
	}
	if content, err := os.ReadFile(config); err != nil || string(content) != "passive_ftp = on\ntries = 1\n" {
		t.Errorf("%q, %v", content, err)
	}
	if left, err := os.ReadDir(without); err != nil || len(left) != 0 {
		t.Errorf("a root without wget has %v, %v", left, err)
	}
}
