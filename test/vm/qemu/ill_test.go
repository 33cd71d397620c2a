package qemu

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/qmp"
)

// recorder is a QEMU that only notes what it is told.
type recorder struct {
	mu   sync.Mutex
	said []string
}

// machine returns a machine that talks to the recorder.
func (r *recorder) machine(t *testing.T) *Machine {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		_, _ = fmt.Fprintln(theirs, `{"QMP": {"version": {}, "capabilities": []}}`)
		for lines := bufio.NewScanner(theirs); lines.Scan(); {
			var request struct {
				Execute   string          `json:"execute"`
				Arguments json.RawMessage `json:"arguments"`
				ID        uint64          `json:"id"`
			}
			if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
				t.Error(err)
				return
			}
			result := "{}"
			if request.Execute == "human-monitor-command" {
				result = `""`
			}
			r.mu.Lock()
			r.said = append(r.said, request.Execute+" "+string(request.Arguments))
			r.mu.Unlock()
			_, _ = fmt.Fprintf(theirs, "{\"return\": %s, \"id\": %d}\n", result, request.ID)
		}
	}()
	client, err := qmp.New(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return &Machine{qmp: client}
}

// where is at which place the first command with the words was, -1 for none.
func (r *recorder) where(words ...string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.IndexFunc(r.said, func(line string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	})
}

// count is how many commands with the name there were.
func (r *recorder) count(command string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, line := range r.said {
		if strings.HasPrefix(line, command+" ") {
			n++
		}
	}
	return n
}

// TestIllAndHealed: a disk becomes ill by what is made beside it and then put in its way, and whatever was made is taken away
// again when it is healed, or falls ill otherwise.
func TestIllAndHealed(t *testing.T) {
	var r recorder
	m, d := r.machine(t), &Disk{Serial: "serial", name: "device1"}
	if err := m.Fail(t.Context(), d, Ill{Reads: true, Sectors: []int64{0, 8}}); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{
		{"blockdev-add", `"blkdebug"`, `"image":"device1-file"`, `"sector":0`, `"sector":8`},
		{"blockdev-reopen", `"node-name":"device1"`, `"file":"device1-fails"`},
	} {
		if r.where(words...) < 0 {
			t.Errorf("nothing was said of %q in %q", words, r.said)
		}
	}
	if err := m.Hang(t.Context(), d, Ill{Reads: true, Writes: true}); err != nil {
		t.Fatal(err)
	}
	burnt, inTheWay := r.where("human-monitor-command", "write"), r.where("blockdev-reopen", "device1-hangs")
	if burnt < 0 || inTheWay < burnt || r.where("human-monitor-command", "device1-spare", "read") < 0 {
		t.Errorf("the first access would not hang: %q", r.said)
	}
	for range 2 {
		if err := m.Heal(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	last := r.where("blockdev-reopen", `"file":"device1-file"`)
	if last < 0 || r.count("blockdev-add") != r.count("blockdev-del") || r.count("object-add") != r.count("object-del") {
		t.Errorf("something is left in the way: %q", r.said)
	}
	if n := r.count("blockdev-reopen"); n != 4 {
		t.Errorf("a disk that fell ill twice was put together %d times", n)
	}
	if err := m.Hang(t.Context(), d, Ill{Reads: true, Sectors: []int64{1}}); err == nil {
		t.Error("a single sector hangs, which QEMU cannot do")
	}
}
