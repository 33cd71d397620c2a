package rpcerr

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestAbout: an error names what it is about once, and keeps its code.
func TestAbout(t *testing.T) {
	const id = "AE6C4452-b93b-4f4d-b8c1-2cea28d99fb8"
	busy := volume.Errorf(volume.Busy, "it is locked")
	for name, c := range map[string]struct {
		err  error
		id   string
		code codes.Code
		text string
	}{
		"not named":      {busy, id, codes.Unavailable, "volume " + id + ": it is locked"},
		"named":          {volume.Errorf(volume.InUse, "disk ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8 is in use"), id, codes.FailedPrecondition, "disk ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8 is in use"},
		"about nothing":  {busy, "", codes.Unavailable, "it is locked"},
		"without reason": {errors.New("no memory"), id, codes.Internal, "volume " + id + ": no memory"},
		"with a code":    {status.Error(codes.InvalidArgument, "volume_id is missing"), id, codes.InvalidArgument, "volume_id is missing"},
	} {
		if got := status.Convert(Status(About(c.err, "volume", c.id))); got.Code() != c.code || got.Message() != c.text {
			t.Errorf("%s: %s, %q", name, got.Code(), got.Message())
		}
	}
	if err := About(nil, "volume", id); err != nil {
		t.Errorf("no error became %v", err)
	}
}
