package cache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestOnce: a thing is made once, and what could not be finished leaves nothing.
func TestOnce(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	broken := errors.New("broken")
	if _, err := c.once("thing", func(part string) error {
		return errors.Join(os.WriteFile(part, []byte("half"), 0o600), broken)
	}); !errors.Is(err, broken) {
		t.Fatalf("a build that fails: %v", err)
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) != 0 {
		t.Fatalf("a build that failed left %v, %v", left, err)
	}
	builds := 0
	for range 2 {
		path, err := c.once("thing", func(part string) error {
			builds++
			return os.WriteFile(part, []byte("whole"), 0o600)
		})
		if err != nil || path != filepath.Join(c.Dir, "thing") {
			t.Fatalf("%s, %v", path, err)
		}
	}
	if builds != 1 {
		t.Errorf("built %d times", builds)
	}
}

func TestLockWaits(t *testing.T) {
	c := &Cache{Dir: t.TempDir(), Out: t.Output()}
	unlock, err := c.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		unlock, err := c.lock(t.Context())
		if err == nil {
			unlock()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("the lock was taken twice: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	unlock()
	if err := <-second; err != nil {
		t.Fatal(err)
	}
}

func TestRequired(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go.mod")
	if err := os.WriteFile(file, []byte("module x\n\nrequire example.com/c v1.2.4\n\nrequire (\n\texample.com/a v1.2.3\n)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if version, err := required(file, "example.com/a"); version != "v1.2.3" || err != nil {
		t.Errorf("%q, %v", version, err)
	}
	if version, err := required(file, "example.com/c"); version != "v1.2.4" || err != nil {
		t.Errorf("%q, %v", version, err)
	}
	if _, err := required(file, "example.com/b"); err == nil {
		t.Error("a module that is not required has a version")
	}
}

func TestComplete(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "etcd"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := complete(dir, []string{"etcd"}); err != nil {
		t.Error(err)
	}
	if err := complete(dir, []string{"etcd", "kubelet"}); err == nil {
		t.Error("a directory without kubelet is complete")
	}
}

func TestAbout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "10 s", 25 * time.Second: "30 s", time.Minute: "1 min", 100 * time.Second: "2 min", 15 * time.Minute: "15 min",
	} {
		if got := about(d); got != want {
			t.Errorf("about(%s) = %s, want %s", d, got, want)
		}
	}
}
