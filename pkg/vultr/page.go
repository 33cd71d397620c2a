package vultr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"

	"k8s.io/klog/v2"
)

const (
	pageSize = 500 // the API's maximum
	maxPages = 1000
	// listReads is how often a list is read that turns out to be short.
	listReads = 2
)

// page is one page of a list as the API sends it.
type page[W any] struct {
	key   string
	items []W
	meta  struct {
		Total int `json:"total"`
		Links struct {
			Next string `json:"next"`
		} `json:"links"`
	}
}

// UnmarshalJSON takes the items from under the list's key. Some lists have no meta at all: then the page is the list.
func (p *page[W]) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	items, ok := fields[p.key]
	if !ok {
		return fmt.Errorf("it lacks %q", p.key)
	}
	if err := json.Unmarshal(items, &p.items); err != nil {
		return err
	}
	if meta, ok := fields["meta"]; ok {
		return json.Unmarshal(meta, &p.meta)
	}
	return nil
}

// listing is what one reading of a list came to.
type listing[D any] struct {
	items []D
	pages int
	// counted is the highest number of objects that a page told.
	counted int
	// filtered lists have some of what there is; nothing says which of both numbers the API counts then.
	filtered bool
}

// short reports whether objects are missing. Over several pages an object can fall between two of them if others go away
// meanwhile, and nothing says that a cursor of the API prevents that. (If another comes meanwhile too, the numbers agree and
// nothing shows it: proof of an absence that costs something needs a look at the object itself.) A single page is one answer,
// which nothing can shift, and its count may know of what the page does not show yet; but one that counts objects and shows
// none comes from a part of the platform that knows nothing.
func (l listing[D]) short() bool {
	blank := !l.filtered && len(l.items) == 0
	return (l.pages > 1 || blank) && len(l.items) < l.counted
}

// all reads every page of the list. One bad page spoils it. A list that holds fewer objects than the API counted is read
// again; if it is short then too, its items come with a *ShortListError.
func (r resource[W, D]) all(ctx context.Context, c *Client, filter url.Values) ([]D, error) {
	var list listing[D]
	for range listReads {
		var err error
		if list, err = r.once(ctx, c, filter); err != nil {
			return nil, err
		}
		if !list.short() {
			return list.items, nil
		}
	}
	short := &ShortListError{Op: r.ops.list.words, Listed: len(list.items), Counted: list.counted}
	klog.FromContext(ctx).Info("The Vultr API counts more objects than it lists, so the list proves no absence",
		"operation", r.ops.list.name, "listed", short.Listed, "counted", short.Counted)
	return list.items, short
}

func (r resource[W, D]) once(ctx context.Context, c *Client, filter url.Values) (listing[D], error) {
	list := listing[D]{filtered: len(filter) > 0}
	seen := map[string]bool{}
	cursors := map[string]bool{}
	query := url.Values{"per_page": {strconv.Itoa(pageSize)}}
	maps.Copy(query, filter)
	for list.pages < maxPages {
		p := page[W]{key: r.many}
		if err := c.do(ctx, r.ops.list, "", r.path+"?"+query.Encode(), nil, &p); err != nil {
			return list, err
		}
		list.pages++
		list.counted = max(list.counted, p.meta.Total)
		for _, item := range p.items {
			object := r.domain(item)
			id := r.id(object)
			if id == "" {
				return list, r.unlistable("an object in the list has no ID")
			}
			// A list that shifts while it is read shows the same object twice.
			if !seen[id] {
				seen[id] = true
				list.items = append(list.items, object)
			}
		}
		cursor := p.meta.Links.Next
		if cursor == "" {
			return list, nil
		}
		if cursors[cursor] {
			return list, r.unlistable(fmt.Sprintf("page %d leads back to an earlier page", list.pages))
		}
		cursors[cursor] = true
		query.Set("cursor", cursor)
	}
	return list, r.unlistable(fmt.Sprintf("the list has more than %d pages", maxPages))
}

func (r resource[W, D]) unlistable(why string) error {
	return (&record{op: r.ops.list}).undecodable(why)
}

// listBoth makes one list of two kinds of object.
func listBoth[D any](ctx context.Context, c *Client, lists ...func(context.Context, *Client, url.Values) ([]D, error)) ([]D, error) {
	var all []D
	var short error
	for _, list := range lists {
		items, err := list(ctx, c, nil)
		if _, ok := errors.AsType[*ShortListError](err); ok {
			short = err
		} else if err != nil {
			return nil, err
		}
		all = append(all, items...)
	}
	return all, short
}

// ShortListError says that a list holds fewer objects than the API says there are. What it holds exists, but it proves
// no absence.
type ShortListError struct {
	// Op is what was tried, in words.
	Op string
	// Listed and Counted are numbers of objects: in the list, and by the API's own count.
	Listed, Counted int
}

// Error gives both numbers.
func (e *ShortListError) Error() string {
	return fmt.Sprintf("%s: the Vultr API counts %d but lists %d, so the list proves nothing about what it lacks", e.Op, e.Counted, e.Listed)
}
