package vultr

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
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
		{"never complete", [][]string{ids(0, 500), ids(500, 700)}, func(int) int { return 900 }, 700, 4},
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
		for _, err := range []error{errRegions, errInstances, errBalancers, errAccount} {
			if !IsUnauthorized(err) {
				t.Errorf("got %v", err)
			}
		}
	})
}
