package vultr

import (
	"context"
	"errors"
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
	for state, want := range map[string][2]bool{
		"COMPLETE": {true, false}, "complete": {true, false}, "PENDING": {}, "": {}, "ERROR": {false, true}, "failed": {false, true},
	} {
		s := Snapshot{State: state}
		if got := [2]bool{s.Complete(), s.Failed()}; got != want {
			t.Errorf("%q: %v", state, got)
		}
	}
	for text, want := range map[string]bool{"Snapshot cannot be used at this time": true, "Invalid snapshot ID.": false} {
		if got := IsSnapshotNotReady(&Error{Status: 400, Message: text}); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// TestWaitForAListedSnapshot: only a list counts, and it is returned; a 404 ends the wait when the time for that is over.
func TestWaitForAListedSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shown := time.Now().Add(10 * time.Second)
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != snapshots.path {
				return reply(404, `{"error":"Invalid block storage snapshot ID.","status":404}`), nil
			}
			if time.Now().Before(shown) {
				return reply(200, `{"snapshots":[]}`), nil
			}
			return reply(200, `{"snapshots":[`+liveSnapshot+`]}`), nil
		}}
		listed := func(Snapshot) (bool, error) { return true, nil }
		c := net.client(t)
		got, list, err := c.WaitSnapshotListed(t.Context(), "snapshot create", idA, time.Minute, listed)
		if err != nil || got != wantSnapshot || len(list.Items) != 1 || list.Began.Before(shown) {
			t.Errorf("got %+v, %+v, %v", got, list, err)
		}
		if _, _, err := c.WaitSnapshotListed(t.Context(), "snapshot create", idB, 5*time.Second, listed); !IsNotFound(err) {
			t.Errorf("got %v", err)
		}
	})
}

// TestSnapshotIsDeletedIf: the precondition is asked before the request.
func TestSnapshotIsDeletedIf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(*http.Request) (*http.Response, error) { return reply(204, ""), nil }}
		c := net.client(t)
		used := errors.New("it is in use")
		if err := c.DeleteSnapshot(t.Context(), idA, func(context.Context) error { return used }); !errors.Is(err, used) || net.count("DELETE", snapshots.path+"/"+idA) != 0 {
			t.Errorf("got %v after %d requests", err, net.count("DELETE", snapshots.path+"/"+idA))
		}
		if err := c.DeleteSnapshot(t.Context(), idA); err != nil || net.count("DELETE", snapshots.path+"/"+idA) != 1 {
			t.Errorf("got %v", err)
		}
	})
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
