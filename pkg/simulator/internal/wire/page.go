package wire

import (
	"encoding/base64"
	"iter"
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

// Cut returns the page of items, which come sorted by seq, with the cursors around it. Cursors are positions, not offsets:
// what is deleted between two pages makes no item appear twice or not at all. Only the page is kept of the items.
func Cut[T any](items iter.Seq[T], page Page, seq func(T) int64) ([]T, Meta) {
	var meta Meta
	var earlier, later bool // there is something before the page, or behind it
	cut := make([]T, 0, min(page.PerPage, MaxPerPage))
	for item := range items {
		meta.Total++
		switch at := seq(item); {
		case page.Before > 0 && at >= page.Before:
			later = true
		case page.Before > 0 && len(cut) == page.PerPage:
			cut, earlier = append(cut[1:], item), true
		case page.Before == 0 && at <= page.After:
			earlier = true
		case page.Before == 0 && len(cut) == page.PerPage:
			later = true
		default:
			cut = append(cut, item)
		}
	}
	if later && len(cut) > 0 {
		meta.Links.Next = cursor(nextPrefix, seq(cut[len(cut)-1]))
	}
	if earlier && len(cut) > 0 {
		meta.Links.Prev = cursor(prevPrefix, seq(cut[0]))
	}
	return cut, meta
}

func cursor(prefix string, seq int64) string {
	return base64.StdEncoding.EncodeToString([]byte(prefix + strconv.FormatInt(seq, 10)))
}
