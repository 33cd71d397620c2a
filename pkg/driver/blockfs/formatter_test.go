package blockfs

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
)

// format makes a file system on a device that nobody replaces.
func format(t *testing.T, d device.Device, fsType string, overwrite bool) error {
	t.Helper()
	var work longwork.Runner
	return work.Do(t.Context(), "volume", "call", func(task *longwork.Task) error {
		return NewFormatter(1).Make(task, d, of(fsType), filesystem.Wish{Overwrite: overwrite, Kernel: filesystem.Floor}, func(bool) error { return nil })
	})
}

// TestFormatIsProvenWhenItsTurnHasCome: the proof is asked for after the wait for a turn, while the device is held,
// and without it nothing is written.
func TestFormatIsProvenWhenItsTurnHasCome(t *testing.T) {
	m := testmachine.New(t)
	m.Plug("disk", "ewr-ae6c4452b93b4f", 64<<20)
	d := m.Device("ewr-ae6c4452b93b4f")
	f := NewFormatter(1)
	give := make(chan struct{})
	var others longwork.Runner
	taken := make(chan struct{})
	go func() { // another format is under way
		_ = others.Do(context.Background(), "other", "call", func(task *longwork.Task) error {
			_, done, err := f.turns.Take(task, "format")
			close(taken)
			<-give
			done()
			return err
		})
	}()
	<-taken
	ended, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	moved := errors.New("the disk has moved")
	asked := make(chan bool, 1)
	var work longwork.Runner
	err := work.Do(ended, "volume", "call", func(task *longwork.Task) error {
		return f.Make(task, d, of("ext4"), filesystem.Wish{Overwrite: true, Kernel: filesystem.Floor}, func(waited bool) error { asked <- waited; return moved })
	})
	if _, running := errors.AsType[*longwork.RunningError](err); !running || !strings.Contains(err.Error(), "waiting for a turn") {
		t.Errorf("without a turn: %v", err)
	}
	select {
	case <-asked:
		t.Error("asked before its turn")
	default:
	}
	close(give)
	if err := work.Join(t.Context(), "volume", "call"); !errors.Is(err, moved) {
		t.Errorf("without a proof: %v", err)
	}
	if waited := <-asked; !waited {
		t.Error("who proves was told that there was no wait")
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

// TestTurnsComeBack: a turn ends with its format, however that ended.
func TestTurnsComeBack(t *testing.T) {
	m := testmachine.New(t)
	m.Plug("disk", "ewr-ae6c4452b93b4f", 64<<20)
	d := m.Device("ewr-ae6c4452b93b4f")
	f := NewFormatter(1)
	var work longwork.Runner
	for _, proof := range []error{errors.New("moved"), nil, nil} {
		err := work.Do(t.Context(), "volume", "call", func(task *longwork.Task) error {
			return f.Make(task, d, of("ext4"), filesystem.Wish{Overwrite: true, Kernel: filesystem.Floor}, func(waited bool) error {
				if waited {
					t.Error("it waited for a turn that was free")
				}
				return proof
			})
		})
		if !errors.Is(err, proof) || f.turns.Taken() != 0 {
			t.Fatalf("got %v, %d turns are taken", err, f.turns.Taken())
		}
	}
}

// TestFormatOfAnotherNode: a node that stands for another device than the one that was judged is left as it is, also when
// the serial has not moved yet.
func TestFormatOfAnotherNode(t *testing.T) {
	d := newDisk(t)
	judged := d
	judged.Number.Minor++
	if err := format(t, judged, "ext4", true); err == nil {
		t.Error("it was formatted")
	}
	if f, err := Probe(t.Context(), d); err != nil || !f.Blank {
		t.Errorf("the other disk is %+v, %v", f, err)
	}
}
