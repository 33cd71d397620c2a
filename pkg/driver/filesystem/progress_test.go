package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
)

// told is what the beginnings of a tool's output tell, each text once.
func told(howFar func(string) string, out string) []string {
	var all []string
	for i := range len(out) + 1 {
		if far := howFar(out[:i]); far != "" && (len(all) == 0 || all[len(all)-1] != far) {
			all = append(all, far)
		}
	}
	return all
}

// TestProgressOfRealTools: whenever the tools that are installed here are asked, they tell where they are, and they come
// to the end.
func TestProgressOfRealTools(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<30)); err != nil {
		t.Fatal(err)
	}
	run := func(tool Tool, more ...string) string {
		t.Helper()
		cmd := exec.Command(tool.Name, append(more, tool.Args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", tool.Name, err, out)
		}
		return string(out)
	}
	made := told(ext4{}.Make(path, Wish{Kernel: Floor}).howFar, run(ext4{}.Make(path, Wish{Kernel: Floor})))
	for _, want := range []string{"Writing inode tables, 0 of 8", "Creating journal (8192 blocks)", "Writing superblocks and filesystem accounting information, 0 of 8"} {
		if !slices.Contains(made, want) {
			t.Errorf("mkfs.ext4 does not tell %q but %q", want, made)
		}
	}

	// Without room for its growth, so that tables have to be moved.
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-O", "^resize_inode", "-b", "1024", path, "200M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tools := ext4{}.GrowUnmounted(path)
	if out, err := exec.Command("e2fsck", "-f", "-p", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	grown := told(tools[1].howFar, run(tools[1]))
	for _, want := range []string{"pass 2, Relocating blocks, 0% of it", "pass 3, Scanning inode table, 0% of it", "pass 3, Scanning inode table, 100% of it", "pass 5, Moving inode table, 100% of it"} {
		if !slices.Contains(grown, want) {
			t.Errorf("resize2fs does not tell %q but %q", want, grown)
		}
	}
	if !slices.IsSorted(passesOf(grown)) {
		t.Errorf("the passes of resize2fs go back: %q", grown)
	}
}

// passesOf cuts off all but the passes.
func passesOf(told []string) []string {
	var passes []string
	for _, s := range told {
		passes = append(passes, s[:len("pass 1")])
	}
	return passes
}

// TestProgressOfALargeDevice: counts are taken back by backspaces; the last one counts, and only on the line that is being
// written.
func TestProgressOfALargeDevice(t *testing.T) {
	back := strings.Repeat("\b", 9)
	for out, want := range map[string]string{
		"": "",
		"mke2fs 1.47.0 (5-Feb-2023)\nCreating filesystem with 4 4k blocks\n":   "",
		"Filesystem UUID: 1/2\nSuperblock backups stored on blocks: \n\t32768": "",
		"\nWriting inode tables:    0/8000" + back + " 120/8000":               "Writing inode tables, 120 of 8000",
		"\nWriting inode tables:    0/8000" + back + "   done\n":               "",
		"\nWriting inode tables: 1/8\b\b\bdone\nCreating journal (8 blocks): ": "Creating journal (8 blocks)",
	} {
		if got := farOfMake(out); got != want {
			t.Errorf("%q is %q, want %q", out, got, want)
		}
	}
	bar, erased := strings.Repeat("-", 40), strings.Repeat("\b", 40)
	for out, want := range map[string]string{
		"resize2fs 1.47.0\nResizing the filesystem\n":                                                                   "",
		"Begin pass 2 (max = 6)\nRelocating blocks             " + bar:                                                  "pass 2, Relocating blocks, 0% of it",
		"Begin pass 2 (max = 6)\nRelocating blocks             " + bar + erased + "XXXXXXXXXX":                          "pass 2, Relocating blocks, 25% of it",
		"Begin pass 2 (max = 6)\nA  " + bar + erased + "XX\nBegin pass 3 (max = 9)\nB C  " + bar + erased + "XXXX":      "pass 3, B C, 10% of it",
		"Begin pass 2 (max = 6)\nRelocating blocks             " + bar + erased + strings.Repeat("X", 40) + "\nThe end": "pass 2, Relocating blocks, 100% of it",
	} {
		if got := farOfResize(out); got != want {
			t.Errorf("%q is %q, want %q", out, got, want)
		}
	}
}

// TestWhoAsksIsTold: what the tool prints is read while it runs, and of a run that was repeated only the last counts.
func TestWhoAsksIsTold(t *testing.T) {
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`[ -e %[1]s/busy ] || { touch %[1]s/busy; printf 'Writing inode tables: 7/9'; echo '/dev/x is in use.'; exit 8; }
printf 'Writing inode tables: 3/9'; read go < %[1]s/gate`, dir)
	tool := Tool{Name: "sh", Args: []string{"-c", script}, Ending: longwork.AtOnce, howFar: farOfMake}
	var work longwork.Runner
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- work.Do(ctx, "volume", "call", func(task *longwork.Task) error { return tool.Run(task, device.Device{}) })
	}()
	poll := time.NewTicker(10 * time.Millisecond) // a process that is no child of ours tells nothing by itself
	defer poll.Stop()
	far := func() string {
		running, ok := errors.AsType[*longwork.RunningError](work.Running("volume"))
		if !ok {
			return ""
		}
		return running.Progress
	}
	for far() != "Writing inode tables, 3 of 9" {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		case <-poll.C:
		}
	}
	if err := os.WriteFile(gate, []byte("go\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestBarsAreNoWords: an error of resize2fs has room for its words.
func TestBarsAreNoWords(t *testing.T) {
	out := "Begin pass 2 (max = 6)\nRelocating blocks  " + strings.Repeat("-", 40) + strings.Repeat("\b", 40) + strings.Repeat("X", 10) + "\nNo space left -- on device\n"
	if got, want := brief(out), "Begin pass 2 (max = 6) Relocating blocks No space left -- on device"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPassesOfE2fsck: the last line that it wrote to its descriptor counts, until it is run again.
func TestPassesOfE2fsck(t *testing.T) {
	for lines, want := range map[string]string{
		"":                                       "",
		"1 5 10 /dev/vdb\n":                      "pass 1 of 5, 50% of it",
		"1 5 10 /dev/vdb\n3 0 0 /dev/vdb\n":      "pass 3 of 5",
		"1 10 10 /dev/vdb\n4 1 200 /dev/vdb\n":   "pass 4 of 5, 0% of it",
		"4 1 200 /dev/vdb\n5 200 200 /dev/vdb\n": "pass 5 of 5, 100% of it",
	} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_, err = writer.WriteString(lines)
		if err := errors.Join(err, writer.Close()); err != nil {
			t.Fatal(err)
		}
		p := &progress{}
		p.follow(reader) // until its end
		if got := p.String(); got != want {
			t.Errorf("%q is %q, want %q", lines, got, want)
		}
		p.restart()
		if got := p.String(); got != "" {
			t.Errorf("run again, it is %q", got)
		}
	}
}
