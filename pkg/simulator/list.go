package simulator

import (
	"cmp"
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

func (s *Simulator) newHead() head {
	return head{ID: newID(), Seq: s.nextSeq(), Created: time.Now()}
}

// listed is a record that appears in lists.
type listed interface{ header() head }

// list answers one page of the records that match, each as show gives it.
func list[T listed](s *Simulator, c *call, name string, rows map[string]T, match func(T) bool, show func(T) any) (int, any, error) {
	page, bad := wire.ParsePage(c.req.URL.Query())
	if bad != nil {
		return 0, nil, bad
	}
	now := time.Now()
	visible := make([]T, 0, len(rows))
	for _, r := range rows {
		lagging := now.Sub(r.header().Created) < s.scaled(s.cfg.Delays.ListingLag)
		if match(r) && (!lagging || !s.keeps(quirkListingLag)) {
			visible = append(visible, r)
		}
	}
	slices.SortFunc(visible, func(a, b T) int { return cmp.Compare(a.header().Seq, b.header().Seq) })
	if !s.keeps(quirkPageSize) {
		page.PerPage = len(visible) + 1
	}
	cut, meta := wire.Cut(visible, page, func(r T) int64 { return r.header().Seq })
	if !s.keeps(quirkTotal) {
		meta.Total = len(cut)
	}
	if !s.keeps(quirkCursor) && meta.Links.Next != "" {
		meta.Links.Next = "https://api.vultr.com" + c.req.URL.Path + "?cursor=" + meta.Links.Next
	}
	items := make([]any, 0, len(cut))
	for _, r := range cut {
		items = append(items, show(r))
	}
	return http.StatusOK, map[string]any{name: items, "meta": meta}, nil
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
