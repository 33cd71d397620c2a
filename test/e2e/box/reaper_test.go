package box

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A child that has ended before anybody collects is collected. In a process of its own: a reaper takes everybody's children.
func TestReaperMissesNobody(t *testing.T) {
	const here = "BOX_REAPER_TEST"
	if os.Getenv(here) == "" {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestReaperMissesNobody$", "-test.v")
		cmd.Env = append(os.Environ(), here+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	r := newReaper()
	c, err := r.start("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, c.pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	go r.run()
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody has noticed the end")
	}
}
