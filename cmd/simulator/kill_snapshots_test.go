package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// wantSnapshotsAsTheAPISays compares the files with the API's state; nothing is there in part.
func wantSnapshotsAsTheAPISays(t *testing.T, state string, view simulator.View) {
	t.Helper()
	var complete []string
	for _, snapshot := range view.Snapshots {
		if snapshot.State != "COMPLETE" {
			t.Errorf("snapshot %s is %s: %s", snapshot.ID, snapshot.State, snapshot.Failure)
		}
		complete = append(complete, snapshot.ID)
	}
	slices.Sort(complete)
	t.Logf("%d snapshots", len(complete))
	if got := namesOf(t, filepath.Join(state, "snapshots", "*.img"), ".img"); !slices.Equal(got, complete) {
		t.Errorf("files of snapshots %v\nin the API: %v", got, complete)
	}
	for _, dir := range []string{"disks", "snapshots"} {
		for _, pattern := range []string{"*.part", "*.frozen"} {
			if left := namesOf(t, filepath.Join(state, dir, pattern), ""); len(left) > 0 {
				t.Errorf("left in %s: %v", dir, left)
			}
		}
	}
}
