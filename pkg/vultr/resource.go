package vultr

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// resource is one kind of object of the API: where it is, how the API writes it (W) and what it is in our terms (D).
type resource[W, D any] struct {
	path string
	ops  operations
	// one holds the keys under which the API may wrap a single object. It may also come unwrapped: for some kinds the
	// API's own description and its answers differ.
	one []string
	// many is the key of the list.
	many   string
	id     func(D) string
	domain func(W) D
	// firstPage is how many objects are asked for in a page of the first list, 0 for as many as the API gives: what can be large is
	// better met a few at a time.
	firstPage int
	// compact returns what lets the objects of one list share what they have in common; nil for those that are small.
	compact func() func(D) D
}

// operations are the calls that every kind of object has. Their names are metric labels.
type operations struct{ get, list, create, update, remove operation }

// operationsOn makes them from the names of one object and of many, first for metrics, then in words.
func operationsOn(name, names, words, manyWords string) operations {
	return operations{
		get:    operation{name: "get_" + name, words: "read " + words, method: http.MethodGet},
		list:   operation{name: "list_" + names, words: "list " + manyWords, method: http.MethodGet},
		create: operation{name: "create_" + name, words: "create " + words, method: http.MethodPost},
		update: operation{name: "update_" + name, words: "update " + words, method: http.MethodPatch},
		remove: operation{name: "delete_" + name, words: "delete " + words, method: http.MethodDelete},
	}
}

// keyless marks the list as one that the API gives to everybody: it proves nothing about the key.
func (o operations) keyless() operations {
	o.list.keyless = true
	return o
}

// under is the same kind of object at another place, below the object that owns it.
func (r resource[W, D]) under(path string) resource[W, D] {
	r.path = path
	return r
}

// read asks for one object. Only its IsNotFound proves that the object does not exist.
func (r resource[W, D]) read(ctx context.Context, c *Client, id string) (D, error) {
	return r.call(ctx, c, r.ops.get, id, nil)
}

// call asks about, or changes, the object with the ID, and decodes the object that the API answers with.
func (r resource[W, D]) call(ctx context.Context, c *Client, op operation, id string, body any, preconditions ...Precondition) (D, error) {
	if err := checkID(op, id); err != nil {
		var none D
		return none, err
	}
	return r.ask(ctx, c, op, id, r.path+"/"+id, body, preconditions...)
}

// make creates an object. The request is sent once, and again only after the API refused it for its rate.
func (r resource[W, D]) make(ctx context.Context, c *Client, name string, body any) (D, error) {
	return r.ask(ctx, c, r.ops.create, name, r.path, body)
}

func (r resource[W, D]) ask(ctx context.Context, c *Client, op operation, name, path string, body any, preconditions ...Precondition) (D, error) {
	var none D
	answer := single[W]{keys: r.one}
	if err := c.doIf(ctx, all(preconditions), op, name, path, body, &answer); err != nil {
		return none, err
	}
	object := r.domain(answer.object)
	if r.id(object) == "" {
		return none, missing(op, name)
	}
	return object, nil
}

// change sends what answers with nothing: sub is "", or what follows the ID in the path.
func (r resource[W, D]) change(ctx context.Context, c *Client, op operation, id, sub string, body any, preconditions ...Precondition) error {
	if err := checkID(op, id); err != nil {
		return err
	}
	return c.doIf(ctx, all(preconditions), op, id, r.path+"/"+id+sub, body, nil)
}

// remove deletes one object. IsNotFound means that it was gone before.
func (r resource[W, D]) remove(ctx context.Context, c *Client, id string, preconditions ...Precondition) error {
	return r.change(ctx, c, r.ops.remove, id, "", nil, preconditions...)
}

// everyOne is the list of all objects of a kind.
func everyOne[W, D any](c *Client, r resource[W, D]) func(context.Context) ([]D, error) {
	return func(ctx context.Context) ([]D, error) { return r.all(ctx, c, nil) }
}

// share makes a list one that any number of readers can share.
func share[D any](c *Client, name string, list func(context.Context) ([]D, error)) *shared[D] {
	s := newShared(list, listSpacing, c.metrics.sharedRead(name))
	s.landed = c.metrics.listedAt(name)
	return s
}

// sharedList returns the list of a kind to callers outside: whole, or an error.
func sharedList[D any](ctx context.Context, s *shared[D], op operation, maxAge time.Duration) (List[D], error) {
	list, err := s.within(ctx, maxAge)
	if err == nil && list.short != nil {
		return List[D]{}, list.short
	}
	return list, ended(op, err)
}

// single decodes an answer with one object, wrapped under one of the keys or not at all.
type single[W any] struct {
	keys   []string
	object W
}

// UnmarshalJSON finds the object in the answer. Without one it stays the zero value, which has no ID.
func (s *single[W]) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	for _, key := range s.keys {
		if wrapped, ok := fields[key]; ok {
			return json.Unmarshal(wrapped, &s.object)
		}
	}
	return json.Unmarshal(data, &s.object)
}
