package vultr

import (
	"fmt"
	"net/http"
	"testing"
)

// TestRefused holds apart what a 401 and a 403 say about the key.
func TestRefused(t *testing.T) {
	type verdict struct{ Unauthorized, Key, Address, Forbidden bool }
	for name, c := range map[string]struct {
		err  error
		want verdict
	}{
		"wrong key":        {&Error{Status: http.StatusUnauthorized, Message: "Invalid API token."}, verdict{Unauthorized: true, Key: true}},
		"wrong address":    {&Error{Status: http.StatusUnauthorized, Message: "Unauthorized IP address: 203.0.113.9"}, verdict{Unauthorized: true, Key: true, Address: true}},
		"wrapped":          {fmt.Errorf("x: %w", &Error{Status: http.StatusUnauthorized}), verdict{Unauthorized: true, Key: true}},
		"missing right":    {&Error{Status: http.StatusForbidden, Message: "Forbidden"}, verdict{Unauthorized: true, Forbidden: true}},
		"a proxy's 401":    {&Error{Status: http.StatusUnauthorized, foreign: true}, verdict{Unauthorized: true}},
		"a proxy's 403":    {&Error{Status: http.StatusForbidden, foreign: true}, verdict{Unauthorized: true}},
		"text without 401": {&Error{Status: http.StatusBadRequest, Message: "Unauthorized IP address: 203.0.113.9"}, verdict{}},
		"throttled":        {&Error{Status: http.StatusTooManyRequests}, verdict{}},
		"none":             {nil, verdict{}},
	} {
		got := verdict{IsUnauthorized(c.err), IsKeyRefused(c.err), IsAddressRefused(c.err), IsForbidden(c.err)}
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}
