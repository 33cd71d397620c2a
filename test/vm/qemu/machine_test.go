package qemu

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// stranded is set in a process of TestEndsWithItsProcess that starts a machine and is killed.
const stranded = "QEMU_TEST_STRANDED"

// TestEndsWithItsProcess: a machine leaves nothing running when the tests are killed. Its QEMU is one that only waits.
func TestEndsWithItsProcess(t *testing.T) {
	if os.Getenv(stranded) != "" {
		_, err := Start(t.Context(), Config{Initramfs: os.Stdin})
		t.Fatal("there is no QEMU to talk to, yet: ", err)
	}
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	if err := unix.Mkfifo(pids, 0o600); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho $$ >%s\nexec sleep 600\n", pids)
	if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	starter := exec.Command(os.Args[0], "-test.run=^TestEndsWithItsProcess$")
	starter.Env = append(os.Environ(), stranded+"=1", "PATH="+dir+":"+os.Getenv("PATH"))
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	started, err := os.Open(pids)
	if err != nil {
		t.Fatal(err)
	}
	defer started.Close()
	var pid int
	if _, err := fmt.Fscan(bufio.NewReader(started), &pid); err != nil {
		t.Fatal(err)
	}
	machine, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(machine) }()
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait() // it says that it was killed
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(machine), Events: unix.POLLIN}}, 10_000)
	if err != nil || ready != 1 {
		t.Errorf("QEMU outlives its process: %v", err)
		_ = unix.PidfdSendSignal(machine, unix.SIGKILL, nil, 0)
	}
}
