package vultr

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// balancers answers lists of load balancers in pages of as many as are asked for; the cursor is where a page begins.
func balancers(all []map[string]any) func(r *http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		size, err := strconv.Atoi(r.URL.Query().Get("per_page"))
		if err != nil {
			return refusal(400, "bad per_page"), nil
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("cursor")) // none is the beginning
		to, next := min(from+size, len(all)), ""
		if to < len(all) {
			next = strconv.Itoa(to)
		}
		return reply(200, map[string]any{"load_balancers": all[from:to], "meta": map[string]any{
			"total": len(all), "links": map[string]string{"next": next},
		}}), nil
	}
}

// balancersOf makes load balancers with a label of this length.
func balancersOf(n, length int) []map[string]any {
	all := make([]map[string]any, 0, n)
	for _, id := range ids(0, n) {
		all = append(all, map[string]any{"id": id, "label": strings.Repeat("x", length)})
	}
	return all
}

// sizes returns the per_page of the requests after the first ones.
func sizes(t *testing.T, net *cloud, after int) []string {
	t.Helper()
	var all []string
	for _, r := range net.requests()[after:] {
		query, err := url.ParseQuery(r.query)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, query.Get("per_page"))
	}
	return all
}

// Large objects are read a few at a time, small ones as many as the API gives.
func TestPagesOfLargeObjects(t *testing.T) {
	tests := map[string]struct {
		length int
		want   []string // of the second list
	}{
		"small": {10, []string{"500"}},
		"large": {200 << 10, []string{"40", "40", "40", "40"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := &cloud{answer: balancers(balancersOf(150, tt.length))}
				c := net.client(t)
				for i, want := range [][]string{{"100", "100"}, tt.want} {
					before := len(net.requests())
					list, err := c.LoadBalancers(t.Context(), 0)
					if err != nil || len(list.Items) != 150 {
						t.Fatalf("%d load balancers, %v", len(list.Items), err)
					}
					if got := sizes(t, net, before); !slices.Equal(got, want) {
						t.Errorf("list %d was read in pages of %v, want %v", i, got, want)
					}
				}
			})
		})
	}
}

// endless is an answer that is larger than any may be.
type endless struct{}

// Read never comes to an end.
func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A page that is too large is not asked for again as it is, but in parts.
func TestPageThatIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		largest := 25
		small := balancers(balancersOf(60, 10))
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			if size, err := strconv.Atoi(r.URL.Query().Get("per_page")); err != nil || size > largest {
				resp := reply(200, "{}")
				resp.Body, resp.ContentLength = io.NopCloser(endless{}), -1
				return resp, nil
			}
			return small(r)
		}}
		c := net.client(t)
		list, err := c.LoadBalancers(t.Context(), 0)
		if err != nil || len(list.Items) != 60 {
			t.Fatalf("%d load balancers, %v", len(list.Items), err)
		}
		if got := sizes(t, net, 0); !slices.Equal(got, []string{"100", "25", "25", "25"}) {
			t.Errorf("read in pages of %v", got)
		}
		largest = 0 // a single object is too large
		before := len(net.requests())
		if _, err := c.LoadBalancers(t.Context(), 0); !errors.Is(err, errTooLarge) {
			t.Errorf("got %v", err)
		}
		if got := sizes(t, net, before); !slices.Equal(got, []string{"500", "125", "31", "7", "1"}) {
			t.Errorf("given up after pages of %v", got)
		}
	})
}

// In front of thousands of nodes, what load balancers have in common is in memory once.
func TestListsShareBackends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backends := ids(0, 3)
		with := func(n int, instances []string) map[string]any {
			return map[string]any{"id": fmt.Sprintf("%08x-0000-4000-9000-000000000000", n), "instances": instances}
		}
		net := &cloud{answer: balancers([]map[string]any{
			with(0, backends), with(1, backends[:2]), with(2, []string{backends[2], backends[1], backends[0]}), with(3, nil),
		})}
		list, err := net.client(t).LoadBalancers(t.Context(), 0)
		if err != nil || len(list.Items) != 4 {
			t.Fatalf("%d load balancers, %v", len(list.Items), err)
		}
		all := list.Items
		if !slices.Equal(all[0].Instances, backends) || !slices.Equal(all[1].Instances, backends[:2]) || len(all[3].Instances) != 0 {
			t.Errorf("%+v", all)
		}
		if &all[0].Instances[0] != &all[2].Instances[0] {
			t.Error("the same backends are there twice")
		}
	})
}
