package luks

import (
	"context"
	"errors"
	"testing"
)

// TestEndsAreTold: each run's end is told once, with the command and the error that the caller gets, also of one that was
// never begun.
func TestEndsAreTold(t *testing.T) {
	ctx, c, disk := t.Context(), New(), newDisk(t)
	var commands []string
	var last error
	c.Ended = func(command string, err error) { commands, last = append(commands, command), err }
	told := func(command string, err, is error) {
		t.Helper()
		if len(commands) != 1 || commands[0] != command || !errors.Is(last, err) || !errors.Is(err, is) {
			t.Errorf("%s gave %v, want %v; told were %q, the last with %v", command, err, is, commands, last)
		}
		commands = nil
	}
	told("luksFormat", c.Format(ctx, disk, volumeID, first), nil)
	told("open", c.Test(ctx, disk, second), ErrPassphrase)
	told("config", c.MarkUsed(ctx, disk, volumeID), nil)
	over, cancel := context.WithCancel(ctx)
	cancel()
	told("luksAddKey", c.Add(over, disk, first, second), context.Canceled)
	c.memory = memory{files(t, map[string]string{"meminfo": "MemAvailable: 1 kB\n"}), t.TempDir()}
	told("luksRemoveKey", c.Remove(ctx, disk, first), ErrMemory)
	if err := c.Close(ctx, "csi-vultr-nothing"); err == nil || len(commands) != 1 || commands[0] != "close" {
		t.Errorf("%v, told were %q", err, commands)
	}
}
