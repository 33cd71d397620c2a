package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// useSnapshots leads volumes, their snapshots and what is made from these through their lives until ctx ends.
func useSnapshots(ctx context.Context, api string) {
	for ctx.Err() == nil {
		var made struct{ Block struct{ ID string } }
		var taken struct{ ID string }
		if !call(http.MethodPost, api+"/blocks", map[string]any{"region": "ewr", "size_gb": 10, "label": "source"}, &made) {
			continue
		}
		retry(ctx, func() bool {
			return call(http.MethodPost, api+"/blocks/snapshots", map[string]any{"block_id": made.Block.ID, "description": "s"}, &taken)
		})
		if rand.IntN(2) == 0 {
			retry(ctx, func() bool { return call(http.MethodDelete, api+"/blocks/"+made.Block.ID, nil, nil) })
		}
		retry(ctx, func() bool {
			return call(http.MethodPost, api+"/blocks", map[string]any{"region": "ewr", "size_gb": 10, "label": "copy", "snapshot_id": taken.ID}, &made)
		})
		if rand.IntN(2) == 0 {
			retry(ctx, func() bool { return call(http.MethodDelete, api+"/blocks/snapshots/"+taken.ID, nil, nil) })
		}
	}
}

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
