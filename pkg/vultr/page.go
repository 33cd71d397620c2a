package vultr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"sync"

	"k8s.io/klog/v2"
)

const (
	pageSize = 500 // the API's maximum
	maxPages = 1000
	// largePage is how many bytes a page is to have at most: it is in memory as a whole.
	largePage = 8 << 20
	// listReads is how often a list is read that turns out to be short.
	listReads = 2
)

// page is one page of a list as the API sends it.
type page[W any] struct {
	key string
	// take gets the items one by one, so that there is never more than one of them in the API's form.
	take func(W)
	// items is how many there were, in that many bytes of the page.
	items, bytes int
	meta         struct {
		Total int `json:"total"`
		Links struct {
			Next string `json:"next"`
		} `json:"links"`
	}
}

// UnmarshalJSON takes the items from under the list's key. Some lists have no meta at all: then the page is the list.
func (p *page[W]) UnmarshalJSON(data []byte) error {
	p.bytes = len(data)
	in := json.NewDecoder(bytes.NewReader(data))
	if begin, err := in.Token(); err != nil || begin != json.Delim('{') {
		return errors.Join(err, errors.New("it is not an object"))
	}
	found := false
	for in.More() {
		name, err := in.Token()
		switch {
		case err != nil:
		case name == p.key && found:
			err = fmt.Errorf("it has %q twice", p.key)
		case name == p.key:
			found, err = true, p.read(in)
		case name == "meta":
			err = in.Decode(&p.meta)
		default:
			err = in.Decode(&json.RawMessage{})
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("it lacks %q", p.key)
	}
	return nil
}

// read takes the items of the list that comes next.
func (p *page[W]) read(in *json.Decoder) error {
	begin, err := in.Token()
	if err != nil || begin == nil { // null is a list without items
		return err
	}
	if begin != json.Delim('[') {
		return fmt.Errorf("%q is not a list", p.key)
	}
	for in.More() {
		var item W
		if err := in.Decode(&item); err != nil {
			return err
		}
		p.items++
		p.take(item)
	}
	_, err = in.Token() // its end
	return err
}

// pageSizes is how many objects are asked for in a page of each list. Load balancers have the IDs of all their backends in them: in
// front of thousands of nodes, five hundred of them are more than one answer should be, and more than the client takes.
type pageSizes struct {
	mu    sync.Mutex
	known map[string]int // by the operation's name
}

// of returns the size for the next list; first is what it is before anything is known, 0 for the API's maximum.
func (s *pageSizes) of(list operation, first int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return orDefault(s.known[list.name], orDefault(first, pageSize))
}

// learn notes how many bytes the objects had, on average over the page where they had most; 0 if there were none.
func (s *pageSizes) learn(list operation, each int) {
	if each > 0 {
		s.set(list, largePage/each)
	}
}

// shrink notes that a page of this size was larger than any answer may be. It reports whether smaller ones are possible.
func (s *pageSizes) shrink(list operation, size int) bool {
	s.set(list, size/4)
	return size > 1
}

func (s *pageSizes) set(list operation, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]int{}
	}
	s.known[list.name] = min(max(size, 1), pageSize)
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

// once reads every page, all over again in smaller ones if one is larger than any answer may be.
func (r resource[W, D]) once(ctx context.Context, c *Client, filter url.Values) (listing[D], error) {
	for {
		size := c.sizes.of(r.ops.list, r.firstPage)
		list, err := r.inPages(ctx, c, filter, size)
		if !errors.Is(err, errTooLarge) || !c.sizes.shrink(r.ops.list, size) {
			return list, err
		}
	}
}

// inPages reads every page, each of this many objects.
func (r resource[W, D]) inPages(ctx context.Context, c *Client, filter url.Values, size int) (listing[D], error) {
	list := listing[D]{filtered: len(filter) > 0}
	nameless := false
	take := r.into(&list, &nameless)
	most := 0 // bytes of an object
	cursors := map[string]bool{}
	query := url.Values{"per_page": {strconv.Itoa(size)}}
	maps.Copy(query, filter)
	for list.pages < maxPages {
		p := page[W]{key: r.many, take: take}
		if err := c.do(ctx, r.ops.list, "", r.path+"?"+query.Encode(), nil, &p); err != nil {
			return list, err
		}
		if nameless {
			return list, r.unlistable("an object in the list has no ID")
		}
		list.pages++
		list.counted = max(list.counted, p.meta.Total)
		if p.items > 0 {
			most = max(most, p.bytes/p.items)
		}
		cursor := p.meta.Links.Next
		if cursor == "" {
			c.sizes.learn(r.ops.list, most)
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

// into returns what adds an item to a list, and notes if one has no ID.
func (r resource[W, D]) into(list *listing[D], nameless *bool) func(W) {
	seen := map[string]bool{}
	compact := func(object D) D { return object }
	if r.compact != nil {
		compact = r.compact()
	}
	return func(item W) {
		object := r.domain(item)
		id := r.id(object)
		*nameless = *nameless || id == ""
		// A list that shifts while it is read shows the same object twice.
		if !seen[id] {
			seen[id] = true
			list.items = append(list.items, compact(object))
		}
	}
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

// Error returns both numbers.
func (e *ShortListError) Error() string {
	return fmt.Sprintf("%s: the Vultr API counts %d but lists %d, so the list proves nothing about what it lacks", e.Op, e.Counted, e.Listed)
}
