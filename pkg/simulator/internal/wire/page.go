package wire

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
)

// The platform's page sizes.
const (
	DefaultPerPage = 100
	MaxPerPage     = 500
)

// Links are the cursors of the neighbouring pages, "" where there is none. They are opaque, never URLs.
type Links struct {
	Next string `json:"next"`
	Prev string `json:"prev"`
}

// Meta goes with every list. Total counts the whole list, not the page.
type Meta struct {
	Total int   `json:"total"`
	Links Links `json:"links"`
}

// Page is what a request asks for of a list.
type Page struct {
	PerPage int
	// After and Before bound the sequence numbers of the page's items; at most one is set. 0 = unbounded.
	After, Before int64
}

const (
	nextPrefix = "next__"
	prevPrefix = "prev__"
)

// ParsePage reads per_page and cursor. What the platform says of bad ones is unknown; the texts are ours.
func ParsePage(q url.Values) (Page, *Error) {
	page := Page{PerPage: DefaultPerPage}
	if raw := q.Get("per_page"); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 1 {
			return page, BadRequest("Invalid per_page.")
		}
		page.PerPage = min(n, MaxPerPage)
	}
	raw := q.Get("cursor")
	if raw == "" {
		return page, nil
	}
	text, err := base64.StdEncoding.DecodeString(raw)
	if err != nil {
		return page, BadRequest("Invalid cursor.")
	}
	if rest, ok := strings.CutPrefix(string(text), nextPrefix); ok {
		page.After, err = strconv.ParseInt(rest, 10, 64)
	} else if rest, ok := strings.CutPrefix(string(text), prevPrefix); ok {
		page.Before, err = strconv.ParseInt(rest, 10, 64)
	} else {
		return page, BadRequest("Invalid cursor.")
	}
	if err != nil || page.After < 0 || page.Before < 0 {
		return page, BadRequest("Invalid cursor.")
	}
	return page, nil
}

// Cut gives the page of items, which are sorted by seq, with the cursors around it. Cursors are positions, not offsets:
// what is deleted between two pages makes no item appear twice or not at all.
func Cut[T any](items []T, page Page, seq func(T) int64) ([]T, Meta) {
	from, to := 0, 0
	switch {
	case page.Before > 0:
		for to < len(items) && seq(items[to]) < page.Before {
			to++
		}
		from = max(0, to-page.PerPage)
	default:
		for from < len(items) && seq(items[from]) <= page.After {
			from++
		}
		to = min(len(items), from+page.PerPage)
	}
	meta := Meta{Total: len(items)}
	if to < len(items) && to > from {
		meta.Links.Next = cursor(nextPrefix, seq(items[to-1]))
	}
	if from > 0 && to > from {
		meta.Links.Prev = cursor(prevPrefix, seq(items[from]))
	}
	return items[from:to], meta
}

func cursor(prefix string, seq int64) string {
	return base64.StdEncoding.EncodeToString([]byte(prefix + strconv.FormatInt(seq, 10)))
}
