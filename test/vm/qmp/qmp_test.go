package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
)

// dial returns a client of a QEMU that answers each command by answer, given its name and ID.
func dial(t *testing.T, answer func(command string, id uint64) string) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		_, _ = fmt.Fprintln(theirs, `{"QMP": {"version": {}, "capabilities": []}}`)
		for lines := bufio.NewScanner(theirs); lines.Scan(); {
			var request struct {
				Execute string `json:"execute"`
				ID      uint64 `json:"id"`
			}
			if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
				t.Error(err)
				return
			}
			if request.Execute == "quit" {
				return
			}
			text := fmt.Sprintf(`{"return": {}, "id": %d}`, request.ID)
			if request.Execute != "qmp_capabilities" {
				text = answer(request.Execute, request.ID)
			}
			_, _ = fmt.Fprintln(theirs, text)
		}
	}()
	c, err := New(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestAnswersAndEvents(t *testing.T) {
	c := dial(t, func(command string, id uint64) string {
		if command == "bad" {
			return fmt.Sprintf(`{"error": {"class": "GenericError", "desc": "no such thing"}, "id": %d}`, id)
		}
		return fmt.Sprintf(`{"event": "DONE", "data": {"what": %q}}`+"\n"+`{"return": {"size": 7}, "id": %d}`, command, id)
	})
	var result struct{ Size int }
	if err := c.Do(t.Context(), "measure", map[string]any{"a": 1}, &result); err != nil || result.Size != 7 {
		t.Errorf("measured %+v, %v", result, err)
	}
	if err := c.Do(t.Context(), "bad", nil, nil); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("a command that fails: %v", err)
	}
	done := func(e Event) bool { return e.Name == "DONE" && strings.Contains(string(e.Data), "measure") }
	if err := c.Await(t.Context(), done); err != nil {
		t.Errorf("an event that has happened: %v", err)
	}
}

// TestEndOfQEMU: whoever waits hears of it, and so does who comes later.
func TestEndOfQEMU(t *testing.T) {
	c := dial(t, nil)
	waiting := make(chan error, 1)
	go func() { waiting <- c.Await(context.Background(), func(Event) bool { return false }) }()
	for range 2 {
		if err := c.Do(t.Context(), "quit", nil, nil); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("a command to a QEMU that ends: %v", err)
		}
	}
	if err := <-waiting; err == nil {
		t.Error("an event came")
	}
}
