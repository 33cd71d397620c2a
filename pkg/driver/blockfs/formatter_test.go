package blockfs

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
)

// proven is the proof of a device that nobody replaces.
func proven() error { return nil }

// TestFormatIsProvenWhenItsTurnHasCome: the proof is asked for after the wait for a turn, while the device is held,
// and without it nothing is written.
func TestFormatIsProvenWhenItsTurnHasCome(t *testing.T) {
	m := testmachine.New(t)
	m.Plug("disk", "ewr-ae6c4452b93b4f", 64<<20)
	d := m.Device("ewr-ae6c4452b93b4f")
	f := NewFormatter(1)
	f.slots <- struct{}{} // another format is under way
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Make(ended, d, "ext4", true, func() error { t.Error("asked before its turn"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("without a turn: %v", err)
	}
	<-f.slots
	moved := errors.New("the disk has moved")
	if err := f.Make(t.Context(), d, "ext4", true, func() error { return moved }); !errors.Is(err, moved) {
		t.Errorf("without a proof: %v", err)
	}
	head := make([]byte, 4096)
	file, err := os.Open(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // only read from
	if _, err := file.Read(head); err != nil {
		t.Fatal(err)
	}
	for _, b := range head {
		if b != 0 {
			t.Fatal("the disk was written to")
		}
	}
}
