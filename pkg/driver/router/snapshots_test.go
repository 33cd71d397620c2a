package router

import (
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// withSnapshots is a kind that has snapshots.
type withSnapshots struct {
	volume.Backend
	volume.Snapshotter
}

// TestSnapshotter: the kind that has snapshots is found among others, and none is an error.
func TestSnapshotter(t *testing.T) {
	has := &withSnapshots{}
	if got, err := New([]volume.Backend{volume.Backend(nil), has}).Snapshotter(); err != nil || got != volume.Snapshotter(has) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := New(nil).Snapshotter(); volume.ReasonOf(err) != volume.Invalid {
		t.Errorf("got %v, %v", got, err)
	}
}
