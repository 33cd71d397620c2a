package node

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/looks"
)

// TestHangingIsToldWhole: of which volume something hangs, and when it counts as dead, are told as well.
func TestHangingIsToldWhole(t *testing.T) {
	err := asStatus(fmt.Errorf("volume 1: %w; it counts as dead in a while", &looks.HangingError{What: "the mount", Since: time.Minute}))
	const text = "volume 1: the mount has not answered for 1m0s; it counts as dead in a while"
	if status.Code(err) != codes.Unavailable || status.Convert(err).Message() != text {
		t.Errorf("got %v, want %s: %s", err, codes.Unavailable, text)
	}
}
