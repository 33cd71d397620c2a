package simulator

import (
	"iter"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// head is what every record of the account begins with.
type head struct {
	ID string `json:"id"`
	// Seq orders records by their creation.
	Seq     int64     `json:"seq"`
	Created time.Time `json:"created"`
}

func (h head) header() head { return h }

// Sequence orders records by their creation.
func (h head) Sequence() int64 { return h.Seq }

func (s *Simulator) newHead() head {
	return head{ID: newID(), Seq: s.nextSeq(), Created: time.Now()}
}

// listed is a record that appears in lists.
type listed interface{ header() head }

// list answers one page of the records that match, each as show gives it.
func list[T listed](s *Simulator, c *call, name string, rows iter.Seq2[string, T], match func(T) bool, show func(T) any) (int, any, error) {
	page, bad := wire.ParsePage(c.req.URL.Query())
	if bad != nil {
		return 0, nil, bad
	}
	if !s.keeps(quirkPageSize) {
		page.PerPage = math.MaxInt
	}
	cut, meta := wire.Cut(headsMatching(rows, match), page, func(h head) int64 { return h.Seq })
	if !s.keeps(quirkTotal) {
		meta.Total = len(cut)
	}
	if !s.keeps(quirkCursor) && meta.Links.Next != "" {
		meta.Links.Next = "https://api.vultr.com" + c.req.URL.Path + "?cursor=" + meta.Links.Next
	}
	items := make([]any, 0, len(cut))
	for id, r := range rows {
		if len(items) == len(cut) {
			break
		}
		if id == cut[len(items)].ID {
			items = append(items, show(r))
		}
	}
	return http.StatusOK, map[string]any{name: items, "meta": meta}, nil
}

// fixedList pages through a table that never changes, or is so short that nobody pages; positions stand for sequence
// numbers.
func fixedList[T any](c *call, name string, rows []T) (int, any, error) {
	return orderedList(c, name, rows, func(n int) int64 { return int64(n) + 1 })
}

// orderedList pages through rows of which the nth has a sequence number that it keeps whatever becomes of the others.
func orderedList[T any](c *call, name string, rows []T, seq func(n int) int64) (int, any, error) {
	page, bad := wire.ParsePage(c.req.URL.Query())
	if bad != nil {
		return 0, nil, bad
	}
	places := func(yield func(int) bool) {
		for n := range rows {
			if !yield(n) {
				return
			}
		}
	}
	cut, meta := wire.Cut(places, page, seq)
	items := make([]T, 0, len(cut))
	for _, n := range cut {
		items = append(items, rows[n])
	}
	return http.StatusOK, map[string]any{name: items, "meta": meta}, nil
}

// headsMatching are the heads of the records that match. The records themselves are many and large: a list copies those
// of its page only.
func headsMatching[T listed](rows iter.Seq2[string, T], match func(T) bool) iter.Seq[head] {
	return func(yield func(head) bool) {
		for id, r := range rows {
			if !match(r) {
				continue
			}
			h := r.header()
			if h.ID = id; !yield(h) {
				return
			}
		}
	}
}

// inOrder returns records that are in no table in the order of their creation.
func inOrder[T listed](rows map[string]T) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, r := range sorted(maps.All(rows), func(r T) int64 { return r.header().Seq }) {
			if !yield(r.header().ID, r) {
				return
			}
		}
	}
}

func everything[T any](T) bool { return true }

// labelFilter is the exact match that the platform does for instances.
func (s *Simulator) labelMatches(label, wanted string) bool {
	if !s.keeps(quirkLabelFilter) {
		return wanted == "" || strings.Contains(label, wanted)
	}
	return wanted == "" || label == wanted
}

// tagMatches compares one tag without regard to case, as the platform does.
func (s *Simulator) tagMatches(tags []string, wanted string) bool {
	if !s.keeps(quirkTagFilter) {
		return wanted == "" || slices.Contains(tags, wanted)
	}
	return wanted == "" || slices.ContainsFunc(tags, func(t string) bool { return strings.EqualFold(t, wanted) })
}
