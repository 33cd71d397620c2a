package vultr

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// liveSnapshot is a snapshot in the form of govultr's own tests.
const liveSnapshot = `{"id":"` + idA + `","block_id":"` + idB + `","description":"snap-1","state":"COMPLETE",
	"added_at":"2026-07-17 16:46:05","updated_at":"2026-07-17 16:46:09","size":10737418240,"next_invoice_date":"","next_invoice_price":""}`

var wantSnapshot = Snapshot{
	ID: idA, VolumeID: idB, Description: "snap-1", State: "COMPLETE", SizeBytes: 10 << 30,
	Created: time.Date(2026, 7, 17, 16, 46, 5, 0, time.UTC), Updated: time.Date(2026, 7, 17, 16, 46, 9, 0, time.UTC),
}

// govultr knows one form of a snapshot. The API's description and its answers differ in how a snapshot is wrapped: every form is understood, and nothing else
// is taken for a snapshot.
func TestTrapWrappedSnapshots(t *testing.T) {
	noDescription := strings.Replace(liveSnapshot, `"description":"snap-1",`, "", 1)
	tests := []struct {
		name, body   string
		read, create bool
	}{
		{"unwrapped", liveSnapshot, true, true},
		{"wrapped as snapshot", `{"snapshot":` + liveSnapshot + `}`, true, true},
		{"wrapped as block", `{"block":` + liveSnapshot + `}`, true, true},
		{"wrapped as block, without a description", `{"block":` + noDescription + `}`, false, true},
		{"the volume instead", `{"block":{"id":"` + idB + `","label":"x","size_gb":10,"status":"active"}}`, false, false},
		{"a snapshot of another volume", strings.ReplaceAll(liveSnapshot, idB, idA), false, false},
		{"empty object", `{}`, false, false},
		{"null", `{"snapshot":null}`, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := (&cloud{answer: func(*http.Request) (*http.Response, error) { return reply(200, test.body), nil }}).client(t)
			if got, err := c.Snapshot(t.Context(), idA); (err == nil && got == wantSnapshot) != test.read {
				t.Errorf("read: %+v, %v", got, err)
			}
			got, err := c.CreateSnapshot(t.Context(), idB, "snap-1")
			switch {
			case test.create && (err != nil || got != wantSnapshot):
				t.Errorf("create: %+v, %v", got, err)
			case !test.create && (!IsOutcomeUnknown(err) || got != Snapshot{}):
				t.Errorf("create: %+v, %v; it was done, but what it made is unknown", got, err)
			}
		})
	}
}

func TestSnapshotStates(t *testing.T) {
	for state, want := range map[string]bool{"COMPLETE": true, "complete": true, "PENDING": false, "": false, "ERROR": false} {
		if got := (Snapshot{State: state}).Complete(); got != want {
			t.Errorf("%q: %t", state, got)
		}
	}
}

// The filter of the API finds; what it finds is compared once more.
func TestSnapshotsByDescription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := strings.Replace(liveSnapshot, "snap-1", "SNAP-1", 1)
		other = strings.Replace(other, idA, idB, 1)
		net := &cloud{answer: func(*http.Request) (*http.Response, error) {
			return reply(200, `{"snapshots":[`+liveSnapshot+`,`+other+`],"meta":{"total":7,"links":{"next":"","prev":""}}}`), nil
		}}
		c := net.client(t)
		asked := time.Now()
		list, err := c.SnapshotsDescribed(t.Context(), "snap-1")
		if err != nil || len(list.Items) != 1 || list.Items[0] != wantSnapshot || list.Began.Before(asked) {
			t.Errorf("got %+v, %v", list, err)
		}
		if q := net.requests()[0].query; !strings.Contains(q, "description=snap-1") || !strings.Contains(q, "per_page=500") {
			t.Errorf("query %q", q)
		}
		if all, err := c.Snapshots(t.Context(), 0); err != nil || len(all.Items) != 2 {
			t.Errorf("got %+v, %v", all, err)
		}
	})
}

func TestWaitForASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready := time.Now().Add(20 * time.Second)
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			body := liveSnapshot
			if time.Now().Before(ready) {
				body = strings.Replace(body, "COMPLETE", "PENDING", 1)
			}
			if r.URL.Path == snapshots.path {
				body = `{"snapshots":[` + body + `]}`
			}
			return reply(200, body), nil
		}}
		complete := func(s Snapshot) (bool, error) { return s.Complete(), nil }
		got, err := net.client(t).WaitSnapshot(t.Context(), idA, complete)
		if err != nil || got != wantSnapshot {
			t.Errorf("got %+v, %v", got, err)
		}
		if late := time.Since(ready); late > 3*time.Second {
			t.Errorf("%v late", late)
		}
		if n := net.count("GET", snapshots.path+"/"+idA); n != 0 {
			t.Errorf("%d direct reads", n)
		}
	})
}
