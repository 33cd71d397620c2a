package vultr

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// operation is one kind of API call. Its name is a metric label and stays stable.
type operation struct {
	name   string
	words  string
	method string
	// keyless calls are open to everybody.
	keyless bool
}

// Calls that are more than reading, listing, creating, updating or deleting stand beside their kind of object.
var opGetAccount = operation{name: "get_account", words: "read the account", method: http.MethodGet}

// record accompanies one call through the layers below. govultr reduces every failure to a text (and its retry layer
// to another one), so the transport leaves the typed error here.
type record struct {
	op       operation
	resource string
	// wantsBody is set when the answer will be decoded.
	wantsBody bool
	// precondition is asked before each attempt; nil if there is none.
	precondition Precondition
	// err is the call's failure, after all attempts.
	err *Error
	// done is set when the API said that the call succeeded; data is what it said.
	done bool
	data []byte
}

func (r *record) fail(status int, message string, cause error) *Error {
	return &Error{Op: r.op.words, Resource: r.resource, Status: status, Message: message, Err: cause}
}

type recordKey struct{}

func withRecord(ctx context.Context, r *record) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

func recordFrom(ctx context.Context) *record {
	if r, ok := ctx.Value(recordKey{}).(*record); ok {
		return r
	}
	return &record{op: operation{name: "unknown", words: "call"}}
}

// do makes one call and decodes its answer into out, if out is not nil. Every error is an *Error.
func (c *Client) do(ctx context.Context, op operation, resource, path string, body, out any) error {
	return c.doIf(ctx, nil, op, resource, path, body, out)
}

// doIf is do with a precondition.
func (c *Client) doIf(ctx context.Context, precondition Precondition, op operation, resource, path string, body, out any) error {
	rec := &record{op: op, resource: resource, wantsBody: out != nil, precondition: precondition}
	ctx = withRecord(ctx, rec)
	req, err := c.api.NewRequest(ctx, op.method, path, body)
	if err != nil {
		return rec.fail(0, "", err)
	}
	// What govultr returns is not used: it decodes nothing, without an error, if the Content-Type has an unusual form,
	// and its retry layer turns a success into a failure if the context ends at that moment.
	resp, err := c.api.DoWithContext(ctx, req, nil)
	if resp != nil {
		err = errors.Join(err, resp.Body.Close())
	}
	switch {
	case rec.err != nil:
		return rec.err
	case !rec.done:
		return rec.fail(0, "", c.redact.err(err))
	}
	if !op.keyless {
		now := time.Now()
		c.accepted.Store(&now)
	}
	switch {
	case out == nil:
		return nil
	case len(rec.data) == 0:
		return rec.undecodable("the answer is empty")
	}
	if err := json.Unmarshal(rec.data, out); err != nil {
		return rec.undecodable("the answer cannot be decoded: " + c.redact.text(err.Error()))
	}
	return nil
}

// undecodable is the error for a successful status with an answer that says nothing. A write was done then, but what
// it made is unknown.
func (r *record) undecodable(message string) *Error {
	e := r.fail(http.StatusOK, message, nil)
	e.Unknown = r.op.method != http.MethodGet
	return e
}

// missing is the error for an answer that lacks the object it was asked for.
func missing(op operation, resource string) error {
	return (&record{op: op, resource: resource}).undecodable("the answer lacks the object")
}

// IsID reports whether s has the form of the platform's IDs, a UUID of 36 characters in either case. What has
// another form names nothing that exists.
func IsID(s string) bool {
	if len(s) != len("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

// checkID refuses what is no UUID before it becomes part of a path; the API would answer the same.
func checkID(op operation, id string) error {
	if IsID(id) {
		return nil
	}
	return &Error{Op: op.words, Resource: id, Status: http.StatusBadRequest, Message: "not a UUID; nothing was sent"}
}
