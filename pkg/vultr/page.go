package vultr

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/vultr/govultr/v3"
	"k8s.io/klog/v2"
)

const (
	pageSize = 500 // the API's maximum
	maxPages = 1000
)

// page is one page of a list as the API sends it.
type page[W any] struct {
	items []W
	meta  *govultr.Meta
}

// paged is implemented by the wire form of each kind of list.
type paged[W any] interface {
	page() page[W]
}

// listAll reads every page of a list. One bad page spoils the list.
//
// Nothing says whether a cursor of the API survives a change of the list between two pages. A list that ends up with
// fewer objects than its last page counted is therefore read once more.
func listAll[A any, W any, PA interface {
	*A
	paged[W]
}](ctx context.Context, c *Client, op operation, path string, id func(W) string) ([]W, error) {
	items, short, err := listOnce[A, W, PA](ctx, c, op, path, id)
	if err != nil || !short {
		return items, err
	}
	items, short, err = listOnce[A, W, PA](ctx, c, op, path, id)
	if short {
		klog.FromContext(ctx).Info("The Vultr API counts more objects than it lists", "operation", op.name, "listed", len(items))
	}
	return items, err
}

func listOnce[A any, W any, PA interface {
	*A
	paged[W]
}](ctx context.Context, c *Client, op operation, path string, id func(W) string) (items []W, short bool, err error) {
	seen := map[string]bool{}
	cursors := map[string]bool{}
	cursor := ""
	for n := range maxPages {
		query := url.Values{"per_page": {strconv.Itoa(pageSize)}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		var answer A
		if err := c.do(ctx, op, "", path+"?"+query.Encode(), nil, &answer); err != nil {
			return nil, false, err
		}
		p := PA(&answer).page()
		for _, item := range p.items {
			// A list that shifts while it is read shows the same object twice.
			if key := id(item); !seen[key] {
				seen[key] = true
				items = append(items, item)
			}
		}
		cursor = nextCursor(p.meta)
		if cursor == "" {
			return items, n > 0 && p.meta != nil && len(items) < p.meta.Total, nil
		}
		if cursors[cursor] {
			return nil, false, (&record{op: op}).undecodable(fmt.Sprintf("page %d leads back to an earlier page", n+1))
		}
		cursors[cursor] = true
	}
	return nil, false, (&record{op: op}).undecodable(fmt.Sprintf("the list has more than %d pages", maxPages))
}

// nextCursor is "" at the end; some lists send no meta at all.
func nextCursor(meta *govultr.Meta) string {
	if meta == nil || meta.Links == nil {
		return ""
	}
	return meta.Links.Next
}
