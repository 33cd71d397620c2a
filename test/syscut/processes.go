package syscut

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// newMark is an entry of the environment that only the processes of one tracer have.
func newMark() string { return "SYSCUT_MARK=" + rand.Text() }

// describe says what a call is about; counts is false when it changes nothing.
func describe(n notification, ignore []string) (step Step, counts bool) {
	call, ok := known[uintptr(n.number)] //nolint:gosec // the kernel's numbers are small
	if !ok {
		return Step{}, false
	}
	proc := filepath.Join("/proc", strconv.Itoa(int(n.pid)))
	step = Step{Program: nameOf(proc), Call: call.name}
	switch argument := n.arguments[call.about.argument]; call.about.kind {
	case path:
		step.Object = text(int(n.pid), argument)
	case descriptor:
		step.Object, _ = os.Readlink(filepath.Join(proc, "fd", strconv.FormatUint(argument&0xffffffff, 10))) // "" when it is closed
		if !strings.HasPrefix(step.Object, "/") {
			return step, false // a socket, a pipe
		}
	case nothing: // the call has no object
	}
	if call.name == "ioctl" && looks[n.arguments[1]] {
		return step, false
	}
	unimportant := step.Object == os.DevNull || step.Object == "/dev/tty" ||
		slices.ContainsFunc(ignore, func(end string) bool { return strings.HasSuffix(step.Object, end) })
	return step, !unimportant
}

func nameOf(proc string) string {
	name, _ := os.ReadFile(filepath.Join(proc, "comm")) // "" when it is gone
	return strings.TrimSpace(string(name))
}

// text reads a text of a process.
func text(pid int, at uint64) string {
	buffer := make([]byte, 512)
	local := []unix.Iovec{{Base: &buffer[0]}}
	local[0].SetLen(len(buffer))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(buffer)}}, 0)
	if err != nil {
		return ""
	}
	before, _, _ := bytes.Cut(buffer[:n], []byte{0})
	return string(before)
}

// goneWithin bounds the wait for processes that were killed, on a busy machine.
const goneWithin = time.Minute

// killMarked kills all processes with the mark and returns when none of them is left. Those that had forked a child at
// that moment are followed by it, so that it looks until there is none.
func killMarked(mark string) error {
	deadline := time.Now().Add(goneWithin)
	var killed []int
	for {
		pids := marked(mark)
		if err := end(pids); err != nil {
			return err
		}
		killed = append(killed, pids...)
		if len(pids) == 0 && !slices.ContainsFunc(killed, runs) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("of the processes %v some are not gone after %s", killed, goneWithin)
		}
		time.Sleep(time.Millisecond) // between two looks at what the kernel is about to end
	}
}

// end kills processes as at one moment. They are stopped before: one that waits for another one would see its end otherwise, and go
// on, if it is killed a moment later.
func end(pids []int) error {
	for _, signal := range []unix.Signal{unix.SIGSTOP, unix.SIGKILL} {
		for _, pid := range pids {
			if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("killing process %d: %w", pid, err)
			}
		}
	}
	return nil
}

// marked lists the processes that have the mark in their environment.
func marked(mark string) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is fine
	var pids []int
	for _, file := range files {
		environment, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(environment, []byte(mark)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// runs reports whether a process has not ended: one that nobody has waited for yet has, and its files are closed.
func runs(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(rest, []byte("Z")) && !bytes.HasPrefix(rest, []byte("X"))
}
