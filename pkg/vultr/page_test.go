package vultr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pagesOf answers lists of volumes page by page; the cursor is the page's number.
func pagesOf(pages [][]string, total func(listing int) int) *cloud {
	listing := 0
	return &cloud{answer: func(r *http.Request) (*http.Response, error) {
		n := 0
		if cursor := r.URL.Query().Get("cursor"); cursor == "" {
			listing++
		} else if read, _ := fmt.Sscanf(cursor, "page+%d=", &n); read != 1 {
			return refusal(400, "bad cursor"), nil
		}
		next := ""
		if n+1 < len(pages) {
			next = fmt.Sprintf("page+%d=", n+1) // characters that a query must escape
		}
		var list []map[string]any
		for _, id := range pages[n] {
			list = append(list, block(id, "active", ""))
		}
		return reply(200, map[string]any{"blocks": list, "meta": map[string]any{
			"total": total(listing), "links": map[string]string{"next": next, "prev": ""},
		}}), nil
	}}
}

func ids(from, to int) []string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf("%08x-0000-4000-8000-000000000000", i))
	}
	return list
}

func TestListsReadAllPages(t *testing.T) {
	tests := []struct {
		name  string
		pages [][]string
		total func(listing int) int
		want  int
		calls int
	}{
		{"one page", [][]string{ids(0, 3)}, func(int) int { return 3 }, 3, 1},
		{"empty", [][]string{nil}, func(int) int { return 0 }, 0, 1},
		{"three pages", [][]string{ids(0, 500), ids(500, 1000), ids(1000, 1001)}, func(int) int { return 1001 }, 1001, 3},
		{"shifted: one twice", [][]string{ids(0, 500), ids(499, 700)}, func(int) int { return 700 }, 700, 2},
		{"shifted: one missing", [][]string{ids(0, 500), ids(501, 700)}, func(n int) int { return 701 - n }, 699, 4},
		{"one page with a strange total", [][]string{ids(0, 3)}, func(int) int { return 5 }, 3, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := pagesOf(test.pages, test.total)
				list, err := net.client(t).Volumes(t.Context(), 0)
				if err != nil || len(list.Items) != test.want || len(net.requests()) != test.calls {
					t.Errorf("%d volumes by %d calls, %v", len(list.Items), len(net.requests()), err)
				}
				if q := net.requests()[0].query; !strings.Contains(q, "per_page=500") {
					t.Errorf("query %q", q)
				}
			})
		})
	}
}

// A list that stays short shows what exists to those who wait for it, and proves no absence to anybody.
func TestAShortListProvesNoAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := 701 // one object falls between the two pages, however often they are read
		lists := pagesOf([][]string{ids(0, 500), ids(501, 701)}, func(int) int { return total })
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			if id, ok := strings.CutPrefix(r.URL.Path, blocksPath+"/"); ok {
				return reply(200, map[string]any{"block": block(id, "active", "")}), nil
			}
			return lists.answer(r)
		}}
		c, ctx := net.client(t), t.Context()
		list, err := c.Volumes(ctx, 0)
		short, ok := errors.AsType[*ShortListError](err)
		if !ok || len(list.Items) != 0 || short.Listed != 700 || short.Counted != 701 || !strings.Contains(err.Error(), "701") {
			t.Errorf("got %d volumes, %v", len(list.Items), err)
		}
		if n := len(net.requests()); n != 2*listReads {
			t.Errorf("%d requests, want it read %d times", n, listReads)
		}
		always := func(Volume) (bool, error) { return true, nil }
		for _, id := range []string{ids(3, 4)[0], ids(500, 501)[0]} { // listed, and fallen between
			if v, err := c.WaitVolume(ctx, "create", id, always); err != nil || v.ID != id {
				t.Errorf("wait for %s: %+v, %v", id, v, err)
			}
		}
		if n := net.count("GET", blocksPath+"/"+ids(3, 4)[0]); n != 0 {
			t.Errorf("what the list holds was read %d times directly", n)
		}
		total = 700
		// Nobody gets the short one later, however old an answer he accepts.
		if list, err := c.Volumes(ctx, time.Hour); err != nil || len(list.Items) != 700 {
			t.Errorf("afterwards: %d volumes, %v", len(list.Items), err)
		}
	})
}

// A list that is to show what else there is, beside what was just made, is waited for until it is whole.
func TestAShortListEndsNoWaitForAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := 701
		began := time.Now()
		lists := pagesOf([][]string{ids(0, 500), ids(501, 701)}, func(int) int {
			if time.Since(began) > 20*time.Second {
				total = 700
			}
			return total
		})
		always := func(Volume) (bool, error) { return true, nil }
		v, list, err := lists.client(t).WaitListed(t.Context(), "create", ids(3, 4)[0], time.Minute, always)
		if took := time.Since(began); err != nil || v.ID != ids(3, 4)[0] || len(list.Items) != 700 || took < 20*time.Second {
			t.Errorf("after %s: %+v, a list of %d, %v", took, v, len(list.Items), err)
		}
	})
}

// An attachment that such a list lacks is not gone.
func TestAShortListShowsNoDetach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		net := &cloud{answer: func(*http.Request) (*http.Response, error) {
			total := 1
			if time.Since(began) > 20*time.Second {
				total = 0
			}
			return reply(200, map[string]any{"attachments": []any{}, "meta": map[string]any{"total": total}}), nil
		}}
		gone := func(a FileSystemAttachment) (bool, error) { return a.InstanceID == "", nil }
		_, err := net.client(t).WaitFileSystemAttachment(t.Context(), idA, idB, gone)
		if took := time.Since(began); err != nil || took < 20*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

// Where the count stays wrong a wait ends with its call, and says what it waited for in vain: also of an object that falls
// between the pages.
func TestAWaitForAWholeListEndsWithItsCall(t *testing.T) {
	for name, c := range map[string]struct {
		id      string
		missing time.Duration
	}{
		"listed":                       {ids(3, 4)[0], time.Minute},
		"fallen between":               {ids(500, 501)[0], time.Minute},
		"fallen between and read":      {ids(500, 501)[0], 0},
		"fallen between, read in time": {ids(500, 501)[0], 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lists := pagesOf([][]string{ids(0, 500), ids(501, 701)}, func(int) int { return 701 })
				net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
					if id, ok := strings.CutPrefix(r.URL.Path, blocksPath+"/"); ok {
						return reply(200, map[string]any{"block": block(id, "active", "")}), nil
					}
					return lists.answer(r)
				}}
				const allowed = 8 * time.Second
				ctx, cancel := context.WithTimeout(t.Context(), allowed)
				defer cancel()
				began := time.Now()
				_, _, err := net.client(t).WaitListed(ctx, "create", c.id, c.missing, func(Volume) (bool, error) { return true, nil })
				if took := time.Since(began); took != allowed || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ended after %s: %v", took, err)
				}
				if err == nil || !strings.Contains(err.Error(), "counts 701 but lists 700") {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A page that counts objects and shows none proves no absence either, unless it was filtered: nothing says which number
// the API counts then.
func TestABlankPageProvesNoAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := pagesOf([][]string{{}}, func(int) int { return 7 })
		_, err := net.client(t).Volumes(t.Context(), 0)
		if short, ok := errors.AsType[*ShortListError](err); !ok || short.Listed != 0 || short.Counted != 7 {
			t.Errorf("none of 7 volumes: %v", err)
		}
		net = &cloud{answer: func(*http.Request) (*http.Response, error) {
			return reply(200, map[string]any{"snapshots": []any{}, "meta": map[string]any{"total": 7}}), nil
		}}
		if snapshots, err := net.client(t).SnapshotsDescribed(t.Context(), "one"); err != nil || len(snapshots.Items) != 0 {
			t.Errorf("%d snapshots, %v", len(snapshots.Items), err)
		}
	})
}

// Servers come from two lists; a short one of them makes the whole short.
func TestAShortListOfOneKindOfServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := func(key, path string, total int) func(r *http.Request) (*http.Response, error) {
			return func(r *http.Request) (*http.Response, error) {
				next, id := "2", idA
				if r.URL.Query().Get("cursor") != "" {
					next, id = "", idB
				}
				if r.URL.Path != path {
					return servers(r)
				}
				return reply(200, map[string]any{
					key:    []any{map[string]any{"id": id}},
					"meta": map[string]any{"total": total, "links": map[string]string{"next": next}},
				}), nil
			}
		}
		for _, test := range []struct {
			key, path string
			total     int
			short     bool
		}{
			{"instances", instancesPath, 2, false},
			{"instances", instancesPath, 3, true},
			{"bare_metals", bareMetalsPath, 2, false},
			{"bare_metals", bareMetalsPath, 3, true},
		} {
			list, err := (&cloud{answer: answer(test.key, test.path, test.total)}).client(t).Instances(t.Context(), 0)
			if _, short := errors.AsType[*ShortListError](err); short != test.short || (err == nil) != (len(list.Items) == 3) {
				t.Errorf("%s with a total of %d: %d servers, %v", test.key, test.total, len(list.Items), err)
			}
		}
	})
}

// An answer that is not the list asked for is not an empty list.
func TestWhatIsNoList(t *testing.T) {
	tests := map[string]string{
		`{}`:                           "lacks \"blocks\"",
		`{"volumes":[]}`:               "lacks \"blocks\"",
		`[]`:                           "not JSON", // the answer of a server that is not the API
		`{"blocks":{}}`:                "cannot be decoded",
		`{"blocks":[{"label":"x"}]}`:   "no ID",
		`{"blocks":[],"meta":[]}`:      "cannot be decoded",
		`{"blocks":[],"meta":{"tot`:    "cannot be decoded",
		`{"blocks":[{"id":"x"},null]}`: "no ID",
		`{"blocks":[],"blocks":[]}`:    "twice", // which of the two shows all that there is?
	}
	for body, want := range tests {
		synctest.Test(t, func(t *testing.T) {
			net := &cloud{answer: func(*http.Request) (*http.Response, error) { return reply(200, body), nil }}
			list, err := net.client(t).Volumes(t.Context(), 0)
			if err == nil || !strings.Contains(err.Error(), want) || list.Items != nil {
				t.Errorf("%s: got %v, %v", body, list.Items, err)
			}
		})
	}
}

func TestAListWithAFailedPageIsNoList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := pagesOf([][]string{ids(0, 500), ids(500, 700)}, func(int) int { return 700 })
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("cursor") != "" {
				return refusal(403, "Forbidden"), nil
			}
			return good.answer(r)
		}}
		list, err := net.client(t).Volumes(t.Context(), 0)
		if !IsUnauthorized(err) || list.Items != nil {
			t.Errorf("got %d volumes, %v", len(list.Items), err)
		}
	})
}

func TestAListThatRunsInCircles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(*http.Request) (*http.Response, error) {
			return reply(200, map[string]any{"blocks": []any{block(idA, "active", "")}, "meta": map[string]any{
				"total": 1, "links": map[string]string{"next": "again"},
			}}), nil
		}}
		_, err := net.client(t).Volumes(t.Context(), 0)
		if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Message, "earlier page") {
			t.Errorf("got %v", err)
		}
	})
}

func TestEveryListReportsItsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(*http.Request) (*http.Response, error) { return refusal(403, "Forbidden"), nil }}
		c, ctx := net.client(t), t.Context()
		_, errRegions := c.Regions(ctx)
		_, errInstances := c.Instances(ctx, 0)
		_, errBalancers := c.LoadBalancers(ctx, 0)
		_, errAccount := c.Account(ctx)
		_, errSnapshots := c.Snapshots(ctx, 0)
		_, errDescribed := c.SnapshotsDescribed(ctx, "x")
		_, errSystems := c.FileSystems(ctx, 0)
		_, errSystemRegions := c.FileSystemRegions(ctx)
		_, errAttachments := c.FileSystemAttachments(ctx, idA, 0)
		_, errVPCs := c.VPCs(ctx, 0)
		_, errReserved := c.ReservedIPs(ctx, 0)
		_, errGroups := c.FirewallGroups(ctx, 0)
		_, errRules := c.FirewallGroupRules(ctx, idA)
		_, errPlans := c.Plans(ctx)
		_, errNetworks := c.Networks(ctx, Instance{ID: idA})
		for _, err := range []error{
			errRegions, errInstances, errBalancers, errAccount, errSnapshots, errDescribed, errSystems, errSystemRegions,
			errAttachments, errVPCs, errReserved, errGroups, errRules, errPlans, errNetworks,
		} {
			if !IsUnauthorized(err) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// Who waits for a list that shows all that was made before an object is not given a short one: it may lack an older object of
// the same name.
func TestWaitListedTakesNoShortList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var total atomic.Int64
		total.Store(701)
		c := pagesOf([][]string{ids(0, 500), ids(501, 701)}, func(int) int { return int(total.Load()) }).client(t)
		id, always := ids(3, 4)[0], func(Volume) (bool, error) { return true, nil }
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, list, err := c.WaitListed(ctx, "create", id, time.Minute, always)
		if _, short := errors.AsType[*ShortListError](err); !short || len(list.Items) != 0 {
			t.Errorf("a list of %d of 701 volumes, %v", len(list.Items), err)
		}
		total.Store(700)
		v, list, err := c.WaitListed(t.Context(), "create", id, time.Minute, always)
		if err != nil || v.ID != id || len(list.Items) != 700 {
			t.Errorf("afterwards: %+v, a list of %d volumes, %v", v, len(list.Items), err)
		}
	})
}
