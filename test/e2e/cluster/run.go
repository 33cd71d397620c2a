package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Run is one cluster's place on the machine. All that it makes outside of its
// own namespaces is its directory under the cache, one cgroup path and loop
// devices on files in its directory. So the directory's name, which exists
// before anything else does, is record enough to remove all of it.
type Run struct {
	ID  string
	Dir string

	lock *os.File
}

// owner says who holds a run, for those who find its lock taken.
type owner struct {
	PID  int
	What string
}

// runsDir is where the runs are.
func runsDir(cacheDir string) string { return filepath.Join(cacheDir, "runs") }

// newRun makes the directory of a new run and takes its lock.
func newRun(cacheDir, what string) (*Run, error) {
	id := make([]byte, 4)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	r := &Run{ID: hex.EncodeToString(id)}
	r.Dir = filepath.Join(runsDir(cacheDir), r.ID)
	// Paths of sockets end at 107 bytes, and the longest here is below a worker's directory.
	if longest := len(r.Dir) + len("/worker-255/agent.sock"); longest > 107 {
		return nil, fmt.Errorf("the cache directory's path %s is too long by %d bytes for sockets in it: set CACHE", cacheDir, longest-107)
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return nil, err
	}
	locked, err := r.tryLock(what)
	if err == nil && !locked {
		err = errors.New("a new run is locked")
	}
	return r, err
}

// tryLock takes the run's lock, which lives as long as the process that took it.
func (r *Run) tryLock(what string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(r.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = nil
		}
		return false, errors.Join(err, f.Close())
	}
	content, err := json.Marshal(owner{PID: os.Getpid(), What: what})
	if err == nil {
		err = os.WriteFile(r.path("owner.json"), content, 0o600)
	}
	if err != nil {
		return false, errors.Join(err, f.Close())
	}
	r.lock = f
	return true, nil
}

// unlock lets another process take the run over.
func (r *Run) unlock() error {
	if r.lock == nil {
		return nil
	}
	err := r.lock.Close()
	r.lock = nil
	return err
}

// owner reads who holds the run.
func (r *Run) owner() owner {
	var o owner
	content, err := os.ReadFile(r.path("owner.json"))
	if err != nil || json.Unmarshal(content, &o) != nil {
		return owner{What: "unknown"}
	}
	return o
}

// runs lists the runs of the cache directory.
func runs(cacheDir string) ([]*Run, error) {
	entries, err := os.ReadDir(runsDir(cacheDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []*Run
	for _, e := range entries {
		all = append(all, &Run{ID: e.Name(), Dir: filepath.Join(runsDir(cacheDir), e.Name())})
	}
	return all, nil
}

// path is a place in the run's directory.
func (r *Run) path(parts ...string) string {
	return filepath.Join(append([]string{r.Dir}, parts...)...)
}

// cgroup is the run's path in every hierarchy.
func (r *Run) cgroup(parts ...string) string {
	return filepath.Join(append([]string{"/cpv-" + r.ID}, parts...)...)
}
