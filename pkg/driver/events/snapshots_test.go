package events

import (
	"errors"
	"net/http"
	"slices"
	"testing"
)

// TestSnapshotHandles: those of this driver, made by it or imported. A cluster without the kind, or without the right to list
// it, is told from one that does not answer.
func TestSnapshotHandles(t *testing.T) {
	for _, c := range []struct {
		status  int
		want    []string
		fails   bool
		unknown bool
	}{
		{http.StatusOK, []string{"made", "imported", "imported", "only-imported"}, false, false},
		{http.StatusNotFound, nil, true, true},
		{http.StatusForbidden, nil, true, true},
		{http.StatusInternalServerError, nil, true, false},
	} {
		api := listing(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents" {
				t.Errorf("asked for %s", r.URL)
			}
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(`{"items":[
				{"spec":{"driver":"block.csi.vultr.com","source":{"volumeHandle":"v"}},"status":{"snapshotHandle":"made"}},
				{"spec":{"driver":"block.csi.vultr.com","source":{"volumeHandle":"v"}}},
				{"spec":{"driver":"other.driver","source":{"snapshotHandle":"another"}}},
				{"spec":{"driver":"block.csi.vultr.com","source":{"snapshotHandle":"imported"}},"status":{"snapshotHandle":"imported"}},
				{"spec":{"driver":"block.csi.vultr.com","source":{"snapshotHandle":"only-imported"}}}]}`))
		})
		got, err := api.SnapshotHandles(t.Context())
		if !slices.Equal(got, c.want) || (err != nil) != c.fails || errors.Is(err, ErrNoSnapshots) != c.unknown {
			t.Errorf("%d: got %q, %v", c.status, got, err)
		}
	}
}
