package vultr

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"time"
)

// operation is one kind of API call. Its name is a metric label and stays stable.
type operation struct {
	name   string
	words  string
	method string
}

var (
	opGetAccount  = operation{"get_account", "read the account", http.MethodGet}
	opListRegions = operation{"list_regions", "list regions", http.MethodGet}

	opListBlocks  = operation{"list_blocks", "list block storage", http.MethodGet}
	opGetBlock    = operation{"get_block", "read block storage", http.MethodGet}
	opCreateBlock = operation{"create_block", "create block storage", http.MethodPost}
	opResizeBlock = operation{"resize_block", "resize block storage", http.MethodPatch}
	opAttachBlock = operation{"attach_block", "attach block storage", http.MethodPost}
	opDetachBlock = operation{"detach_block", "detach block storage", http.MethodPost}
	opDeleteBlock = operation{"delete_block", "delete block storage", http.MethodDelete}
	opWaitBlock   = operation{"wait_block", "wait for block storage", http.MethodGet}

	opListInstances     = operation{"list_instances", "list instances", http.MethodGet}
	opGetInstance       = operation{"get_instance", "read instance", http.MethodGet}
	opListBareMetals    = operation{"list_bare_metals", "list bare metal servers", http.MethodGet}
	opGetBareMetal      = operation{"get_bare_metal", "read bare metal server", http.MethodGet}
	opListBareMetalVPCs = operation{"list_bare_metal_vpcs", "list the networks of bare metal server", http.MethodGet}

	opListLoadBalancers  = operation{"list_load_balancers", "list load balancers", http.MethodGet}
	opGetLoadBalancer    = operation{"get_load_balancer", "read load balancer", http.MethodGet}
	opCreateLoadBalancer = operation{"create_load_balancer", "create load balancer", http.MethodPost}
	opUpdateLoadBalancer = operation{"update_load_balancer", "update load balancer", http.MethodPatch}
	opDeleteLoadBalancer = operation{"delete_load_balancer", "delete load balancer", http.MethodDelete}
	opDeleteCertificate  = operation{"delete_load_balancer_ssl", "delete the certificate of load balancer", http.MethodDelete}
)

// record accompanies one call through the layers below. govultr reduces every failure to a text (and its retry layer
// to another one), so the transport leaves the typed error here.
type record struct {
	op       operation
	resource string
	// wantsBody is set when the answer will be decoded.
	wantsBody bool
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
	rec := &record{op: op, resource: resource, wantsBody: out != nil}
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
	if op != opListRegions { // which is open to everybody
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

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// checkID refuses what is no UUID before it becomes part of a path; the API would answer the same.
func checkID(op operation, id string) error {
	if uuid.MatchString(id) {
		return nil
	}
	return &Error{Op: op.words, Resource: id, Status: http.StatusBadRequest, Message: "not a UUID; nothing was sent"}
}
