package controller

import (
	"encoding/base64"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestTokens: a token of ours names the ID after which to go on. Everything else is Aborted, so that the caller starts
// again, and never a page from somewhere else.
func TestTokens(t *testing.T) {
	const id = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	if after, err := parseToken(token(id)); after != id || err != nil {
		t.Errorf("got %q, %v", after, err)
	}
	if after, err := parseToken(""); after != "" || err != nil {
		t.Errorf("without a token: got %q, %v", after, err)
	}
	for name, bad := range map[string]string{
		"an ID": id, "an ID without our prefix": base64.RawURLEncoding.EncodeToString([]byte(id)),
		"our prefix and no ID": token("nothing"), "our prefix alone": token(""), "padded": token(id) + "=", "not base64": "!" + token(id),
	} {
		if after, err := parseToken(bad); status.Code(err) != codes.Aborted || after != "" {
			t.Errorf("%s: got %q, %v", name, after, err)
		}
	}
}
