package luks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	volumeID = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	first    = Passphrase("the first CANARY")
	second   = Passphrase("the second CANARY\n")
	third    = Passphrase("the third CANARY")
)

// newDisk makes a file as large as a disk; the header's operations need no more.
func newDisk(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 64<<20)); err != nil {
		t.Fatal(err)
	}
	return path
}

// header reads the header, and fails the test where there is none.
func header(t *testing.T, path string) Header {
	t.Helper()
	h, err := readFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func readFile(path string) (Header, error) {
	file, err := os.Open(path)
	if err != nil {
		return Header{}, err
	}
	defer file.Close() //nolint:errcheck // only read from
	return ReadHeader(file)
}

// TestHeader is the life of a header: it is made, its passphrase is changed, it is marked.
func TestHeader(t *testing.T) {
	ctx, c, disk := t.Context(), New(), newDisk(t)
	if _, err := readFile(disk); !errors.Is(err, ErrNoHeader) {
		t.Fatalf("a blank disk: %v", err)
	}
	if err := c.Test(ctx, disk, first); err == nil || errors.Is(err, ErrPassphrase) {
		t.Errorf("a blank disk is opened: %v", err)
	}
	if err := c.Format(ctx, disk, volumeID, first); err != nil {
		t.Fatal(err)
	}
	want := Header{Label: volumeID, Subsystem: fresh, Keyslots: 1, Offset: 16 << 20, Sector: 4096, Memory: 64 << 20}
	if h := header(t, disk); h != want || !h.Fresh(volumeID) || h.Fresh("another") || !h.Ours() {
		t.Errorf("the header is %+v", h)
	}
	opens := func(what string, is map[Passphrase]bool) {
		t.Helper()
		for p, want := range is {
			err := c.Test(ctx, disk, p)
			if want && err != nil || !want && !errors.Is(err, ErrPassphrase) {
				t.Errorf("%s, %q opens: want %t, got %v", what, string(p), want, err)
			}
		}
	}
	opens("formatted", map[Passphrase]bool{first: true, first + "\n": false, second: false})

	if err := c.Add(ctx, disk, third, second); !errors.Is(err, ErrPassphrase) {
		t.Errorf("added by a passphrase that does not open: %v", err)
	}
	if err := c.Add(ctx, disk, first, second); err != nil {
		t.Fatal(err)
	}
	if h := header(t, disk); h.Keyslots != 2 || !h.Fresh(volumeID) {
		t.Errorf("with two passphrases the header is %+v", h)
	}
	opens("both", map[Passphrase]bool{first: true, second: true, "the second CANARY": false, third: false})
	if err := c.Remove(ctx, disk, first); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(ctx, disk, first); !errors.Is(err, ErrPassphrase) {
		t.Errorf("removed twice: %v", err)
	}
	opens("changed", map[Passphrase]bool{first: false, second: true})

	if err := c.MarkUsed(ctx, disk, volumeID); err != nil {
		t.Fatal(err)
	}
	want.Subsystem = used
	if h := header(t, disk); h != want || h.Fresh(volumeID) || !h.Ours() {
		t.Errorf("marked, the header is %+v", h)
	}
	opens("marked", map[Passphrase]bool{second: true})
	if got := want.Inside(64<<20 + 4095); got != 48<<20 {
		t.Errorf("inside are %d bytes", got)
	}
	if err := c.Remove(ctx, disk, second); err != nil {
		t.Fatal(err)
	}
	if h := header(t, disk); h.Keyslots != 0 {
		t.Errorf("without a passphrase the header is %+v", h)
	}
}

// TestDamagedHeader: what is not sound is not believed, and the copy stands in for the header.
func TestDamagedHeader(t *testing.T) {
	disk := newDisk(t)
	c := New()
	if err := c.Format(t.Context(), disk, volumeID, first); err != nil {
		t.Fatal(err)
	}
	if err := c.MarkUsed(t.Context(), disk, volumeID); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	want := header(t, disk)
	write := func(at int, bytes ...byte) func([]byte) { return func(raw []byte) { copy(raw[at:], bytes) } }
	flip := func(at int) func([]byte) { return func(raw []byte) { raw[at] ^= 0xff } } // what it was is chance
	for name, damage := range map[string]struct {
		first, second func([]byte)
		words         string // "" when the other copy stands in
	}{
		"the first magic":       {first: write(0, 0)},
		"the first checksum":    {first: flip(checksumAt)},
		"the first text":        {first: write(binaryBytes+20, 'x')},
		"the mark":              {first: write(subsystemAt+len(used), []byte(" fresh")...)},
		"an older first copy":   {first: func(raw []byte) { raw[sequenceAt+7]-- }},
		"the second":            {second: write(smallest, 0)},
		"both":                  {first: flip(checksumAt), second: flip(smallest + checksumAt), words: "checksum"},
		"both magics":           {first: write(0, 0), second: write(smallest, 0), words: ErrNoHeader.Error()},
		"LUKS1":                 {first: write(versionAt, 0, 1), words: "version 1"},
		"a size beyond measure": {first: write(sizeAt, 0xff), second: write(smallest, 0), words: "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := append([]byte{}, sound...)
			for _, d := range []func([]byte){damage.first, damage.second} {
				if d != nil {
					d(raw)
				}
			}
			path := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			h, err := readFile(path)
			switch {
			case damage.words == "" && (err != nil || h != want):
				t.Errorf("read %+v, %v", h, err)
			case damage.words != "" && (err == nil || !strings.Contains(err.Error(), damage.words)):
				t.Errorf("read %+v, %v, want %q", h, err, damage.words)
			}
			if damaged := errors.Is(err, ErrDamaged); damaged != (damage.words == "checksum" || damage.words == "damaged") {
				t.Errorf("it is damaged: %t, %v", damaged, err)
			}
		})
	}
	// Read short, it is no header and no fault of this function's.
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, sound[:smallest-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readFile(short); err == nil {
		t.Error("a part of a header was read as a header")
	}
}

// FuzzHeader: no content of a disk has a header read that is none, or makes reading panic.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("LUKS\xba\xbe\x00\x02"), uint16(0))
	f.Fuzz(func(t *testing.T, raw []byte, at uint16) {
		disk := make([]byte, 2*smallest)
		copy(disk, "LUKS\xba\xbe\x00\x02\x00\x00\x00\x00\x00\x00\x40\x00")
		copy(disk[min(int(at), len(disk)):], raw)
		if h, err := ReadHeader(strings.NewReader(string(disk))); err == nil {
			t.Errorf("read %+v", h)
		}
		if h, err := parse(append([]byte{}, disk[:smallest]...)); err == nil {
			t.Errorf("parsed %+v", h)
		}
	})
}

// TestPassphrasesDoNotShow: neither by any verb, nor in JSON, nor in errors, nor in the arguments and the environment of
// what is run.
func TestPassphrasesDoNotShow(t *testing.T) {
	keys := struct{ Keys Keys }{Keys{Current: first, Previous: second}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if text := fmt.Sprintf(verb, keys) + fmt.Sprintf(verb, &keys); strings.Contains(text, "CANARY") || strings.Contains(text, fmt.Sprintf("%x", "CANARY")) {
			t.Errorf("%s shows it: %s", verb, text)
		}
	}
	if raw, err := json.Marshal(keys); err != nil || strings.Contains(string(raw), "CANARY") {
		t.Errorf("JSON shows it: %s, %v", raw, err)
	}
	dir := t.TempDir()
	spy := "#!/bin/sh\ntr '\\0' '\\n' < /proc/$$/cmdline > " + dir + "/seen\nenv >> " + dir + "/seen\ncat /proc/self/fd/3 > " + dir + "/key\necho failed\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "cryptsetup"), []byte(spy), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	c := New()
	for name, call := range map[string]func() error{
		"format": func() error { return c.Format(t.Context(), "/disk", volumeID, first) },
		"open":   func() error { return c.Open(t.Context(), "/disk", "name", first, true) },
		"test":   func() error { return c.Test(t.Context(), "/disk", first) },
		"add":    func() error { return c.Add(t.Context(), "/disk", first, second) },
		"remove": func() error { return c.Remove(t.Context(), "/disk", first) },
		"resize": func() error { return c.Resize(t.Context(), "/disk", "name", first) },
	} {
		err := call()
		seen, readErr := os.ReadFile(filepath.Join(dir, "seen"))
		key, keyErr := os.ReadFile(filepath.Join(dir, "key"))
		if err := errors.Join(readErr, keyErr); err != nil {
			t.Fatal(err)
		}
		if string(key) != string(first) || !strings.Contains(string(seen), "DM_DISABLE_UDEV=1") {
			t.Errorf("%s: by the pipe came %q, seen is\n%s", name, key, seen)
		}
		if err == nil || strings.Contains(err.Error()+string(seen), "CANARY") {
			t.Errorf("%s shows it: %v\n%s", name, err, seen)
		}
	}
}

// TestUnusablePassphrases are refused before anything is run.
func TestUnusablePassphrases(t *testing.T) {
	for _, p := range []Passphrase{"", Passphrase(strings.Repeat("x", MaxPassphrase+1))} {
		disk := newDisk(t)
		if err := New().Format(t.Context(), disk, volumeID, p); err == nil {
			t.Errorf("formatted with %d bytes", len(p))
		}
		if _, err := readFile(disk); !errors.Is(err, ErrNoHeader) {
			t.Errorf("the disk has changed: %v", err)
		}
	}
}

// TestTurns: what derives keys waits for its turn, and no longer than its context.
func TestTurns(t *testing.T) {
	c, disk := New(), newDisk(t)
	for range 2 {
		if !c.turns.TryAcquire(ownMemory) {
			t.Fatal("fewer keys are derived at a time")
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	cancel(cause)
	if err := c.Format(ctx, disk, volumeID, first); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if _, err := readFile(disk); !errors.Is(err, ErrNoHeader) {
		t.Errorf("the disk has changed: %v", err)
	}
}
