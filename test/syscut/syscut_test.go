package syscut

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// script changes a directory in a few steps, one of them by another program, and waits.
const script = `read go; mkdir "$1/a"; echo one >"$1/a/f"; mv "$1/a/f" "$1/a/g"; echo done; read end`

// watched is a shell that runs the script in a directory.
type watched struct {
	*testing.T
	*Tracer
	dir string
	cmd *exec.Cmd
	in  *os.File
	out *os.File
}

func start(t *testing.T) *watched {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it watches another process's system calls")
	}
	w := &watched{T: t, dir: t.TempDir()}
	w.cmd = exec.CommandContext(t.Context(), "/bin/sh", "-c", script, "sh", w.dir)
	inRead, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, outWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.in, w.out, w.cmd.Stdin, w.cmd.Stdout = in, out, inRead, outWrite
	if w.Tracer, err = Start(w.cmd); err != nil {
		t.Fatal(err)
	}
	_, _ = inRead.Close(), outWrite.Close() // the child has its own
	t.Cleanup(func() {
		_, _ = in.Close(), out.Close()
		if err := w.KillAll(); err != nil {
			t.Error(err)
		}
		_ = w.cmd.Wait() // it was killed
	})
	return w
}

// run has the script go and waits until it is done, or killed.
func (w *watched) run() (done bool) {
	w.Helper()
	if _, err := w.in.WriteString("\n"); err != nil {
		w.Fatal(err)
	}
	word := make([]byte, 5)
	n, _ := w.out.Read(word) // nothing comes of one that was killed
	return strings.HasPrefix(string(word[:n]), "done")
}

func (w *watched) exists(name string) bool {
	_, err := os.Stat(filepath.Join(w.dir, name))
	return err == nil
}

// TestCount: each change is seen once, with its object, and the program is what it was.
func TestCount(t *testing.T) {
	w := start(t)
	w.Count()
	if !w.run() || !w.exists("a/g") {
		t.Fatal("the script did not do its work")
	}
	var texts []string
	for _, s := range w.Stop() {
		texts = append(texts, s.String())
	}
	all := strings.Join(texts, "\n")
	for _, want := range []string{"mkdir: mkdir " + w.dir + "/a", "sh: openat " + w.dir + "/a/f", "execve /"} {
		if n := strings.Count(all, want); n == 0 {
			t.Errorf("%q is not among the steps", want)
		}
	}
	if n := strings.Count(all, "rename"); n != 1 {
		t.Errorf("the rename was seen %d times", n)
	}
	if strings.Contains(all, "pipe:") {
		t.Error("what is said to others counts as a change")
	}
	if t.Failed() {
		t.Log(all)
	}
}

// TestKillAtEveryStep: killed at the nth step, the first n-1 are done and the nth is not; no child is left.
func TestKillAtEveryStep(t *testing.T) {
	w := start(t)
	w.Count()
	w.run()
	steps := w.Stop()
	renamed := slices.IndexFunc(steps, func(s Step) bool { return strings.HasPrefix(s.Call, "rename") }) + 1
	for n := 1; n <= len(steps); n++ {
		w := start(t)
		w.KillAt(n)
		if w.run() {
			t.Errorf("step %d: it came to its end", n)
			continue
		}
		select {
		case <-w.Struck():
		case <-time.After(time.Minute):
			t.Fatalf("step %d: was not struck", n)
		}
		if err := w.Err(); err != nil {
			t.Error(err)
		}
		if left := marked(w.mark); len(left) > 0 {
			t.Errorf("step %d: processes %v are left", n, left)
		}
		if got, want := w.exists("a/g"), n > renamed; got != want {
			t.Errorf("step %d of %d (%s): renamed is %t", n, len(steps), steps[n-1], got)
		}
	}
}

// TestEndIsOfAllAtOnce: a process whose child is killed long before it does not get to see that.
func TestEndIsOfAllAtOnce(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `sleep 1000 & echo $!; wait; echo done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 1 << 30 // no process can have this number
	pids := append([]int{child}, slices.Repeat([]int{nobody}, 100000)...)
	if err := end(append(pids, cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(lines); len(rest) > 0 {
		t.Errorf("it went on: %q", rest)
	}
	_ = cmd.Wait() // it was killed
}

// TestFailAt: the call fails with the error and the program goes on.
func TestFailAt(t *testing.T) {
	w := start(t)
	w.Count()
	w.run()
	made := slices.IndexFunc(w.Stop(), func(s Step) bool { return strings.HasPrefix(s.Call, "mkdir") }) + 1
	w = start(t)
	w.FailAt(made, unix.EIO)
	if !w.run() {
		t.Error("it did not go on")
	}
	<-w.Struck()
	if w.exists("a") {
		t.Error("the directory was made")
	}
}
