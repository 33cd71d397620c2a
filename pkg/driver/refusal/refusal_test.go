package refusal_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestCodes is the table from a failure of the API to a gRPC code, by what was tried.
func TestCodes(t *testing.T) {
	answer := func(status int, message string) error {
		return &vultr.Error{Op: "op", Status: status, Message: message}
	}
	for name, c := range map[string]struct {
		err                  error
		create, change, read codes.Code
	}{
		"bad request":        {answer(400, "no"), codes.InvalidArgument, codes.FailedPrecondition, codes.Unavailable},
		"full account":       {answer(400, "You have reached the maximum number of volumes for this account."), codes.ResourceExhausted, codes.FailedPrecondition, codes.Unavailable},
		"full by a right":    {answer(403, "Account limit reached"), codes.ResourceExhausted, codes.Unavailable, codes.Unavailable},
		"unprocessable":      {answer(422, "no"), codes.InvalidArgument, codes.FailedPrecondition, codes.Unavailable},
		"locked":             {answer(400, "Server is currently locked"), codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"conflict":           {answer(409, "busy"), codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"missing":            {answer(404, "Invalid block storage ID."), codes.InvalidArgument, codes.NotFound, codes.NotFound},
		"no such route":      {answer(404, "Not found."), codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"refused key":        {answer(401, "Invalid API token."), codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"missing right":      {answer(403, "Forbidden"), codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"rate":               {answer(429, "rate limit exceeded"), codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"server error":       {answer(500, "oops"), codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"teapot":             {answer(http.StatusTeapot, "tea"), codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"no answer":          {&vultr.Error{Op: "op", Err: errors.New("reset")}, codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"unknown outcome":    {&vultr.Error{Op: "op", Status: 400, Unknown: true}, codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"a short list":       {&vultr.ShortListError{Op: "op", Listed: 0, Counted: 7}, codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"settling":           {&vultr.SettlingError{Name: "n"}, codes.Unavailable, codes.Unavailable, codes.Unavailable},
		"out of time":        {&vultr.Error{Op: "op", Err: context.DeadlineExceeded}, codes.DeadlineExceeded, codes.DeadlineExceeded, codes.DeadlineExceeded},
		"given up":           {context.Canceled, codes.Canceled, codes.Canceled, codes.Canceled},
		"judged already":     {volume.Errorf(volume.Exists, "there"), codes.AlreadyExists, codes.AlreadyExists, codes.AlreadyExists},
		"judged below":       {fmt.Errorf("x: %w", volume.Errorf(volume.Exhausted, "full: %w", answer(400, "no"))), codes.ResourceExhausted, codes.ResourceExhausted, codes.ResourceExhausted},
		"not from the API":   {errors.New("disk full"), codes.Internal, codes.Internal, codes.Internal},
		"nothing went wrong": {nil, codes.OK, codes.OK, codes.OK},
	} {
		for what, got := range map[string]struct {
			err  error
			want codes.Code
		}{
			"create": {refusal.OfCreate(c.err, "trying %d", 1), c.create},
			"change": {refusal.OfChange(c.err, "trying %d", 1), c.change},
			"read":   {refusal.OfRead(c.err, "trying %d", 1), c.read},
		} {
			if code := status.Code(rpcerr.Status(got.err)); code != got.want {
				t.Errorf("%s, %s: %s, want %s (%v)", name, what, code, got.want, got.err)
			}
			if got.err != nil && (!errors.Is(got.err, c.err) || !strings.HasPrefix(got.err.Error(), "trying 1: ")) {
				t.Errorf("%s, %s: %v", name, what, got.err)
			}
		}
	}
}
