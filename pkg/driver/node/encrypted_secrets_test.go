package node_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"k8s.io/klog/v2"
)

// spy looks into every process of the machine.
type spy struct {
	mu     sync.Mutex
	found  []string
	runs   map[string]bool // the commands of cryptsetup that were seen
	secret string
}

func (s *spy) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, file := range []string{"cmdline", "environ"} {
		paths, _ := filepath.Glob("/proc/[0-9]*/" + file) // the pattern is a constant
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				continue // it has ended
			}
			if strings.Contains(string(raw), s.secret) {
				s.found = append(s.found, path)
			}
			for _, command := range []string{"luksFormat", "open", "luksAddKey", "luksRemoveKey", "resize", "config", "close"} {
				if file == "cmdline" && bytes.Contains(raw, []byte("--disable-locks\x00"+command+"\x00")) {
					s.runs[command] = true
				}
			}
		}
	}
}

// TestPassphrasesShowNowhere: while cryptsetup runs, no process has a passphrase in its arguments or its environment; and
// none is in what the plugin logs at its most talkative, answers, or leaves in files.
func TestPassphrasesShowNowhere(t *testing.T) {
	var log syncedBuffer
	klog.LogToStderr(false)
	klog.SetOutput(&log)
	var level klog.Level
	if err := level.Set("10"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		klog.LogToStderr(true)
		_ = level.Set("0")
	})
	secret := rand.Text()
	s := &spy{runs: map[string]bool{}, secret: secret}
	one, two, wrong := "one-"+secret, "two-"+secret+"\n", "wrong-"+secret
	r := newEncryptedRig(t, mountCapability(writer, "xfs"))
	r.program.Watch(t, s.look)

	r.keys(one, "")
	r.up()
	r.machine.Grow("disk", 2*gib, true)
	r.keys(wrong, wrong+wrong)
	_, expanded := r.expand(2 * gib)
	want(t, expanded, codes.Unauthenticated)
	r.keys(one, "")
	if _, err := r.expand(2 * gib); err != nil {
		t.Error(err)
	}
	r.down()
	r.keys(wrong, "")
	staged := r.stage()
	want(t, staged, codes.Unauthenticated)
	r.keys(one+strings.Repeat("x", 512), "")
	tooLong := r.stage()
	want(t, tooLong, codes.InvalidArgument)
	r.keys(two, one)
	r.up()
	r.down()

	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.runs) != 7 {
		t.Errorf("seen of cryptsetup are only %v", s.runs)
	}
	if len(s.found) > 0 {
		t.Errorf("a passphrase was in %q", s.found)
	}
	klog.Flush()
	if text := log.String(); strings.Contains(text, secret) || !strings.Contains(text, "Encrypting the disk") {
		t.Errorf("a passphrase is in the log, or nothing is:\n%s", text)
	}
	if text := errors.Join(expanded, staged, tooLong).Error(); strings.Contains(text, secret) {
		t.Errorf("a passphrase is in an error: %s", text)
	}
	err := filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if strings.Contains(r.read(path), secret) {
			t.Errorf("a passphrase is in %s", path)
		}
		return nil
	})
	r.must(err)
}

// syncedBuffer is a buffer that several goroutines write to.
type syncedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
