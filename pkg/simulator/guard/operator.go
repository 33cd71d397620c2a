package guard

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Operator keeps web pages away from what only the operator may use. A browser on the operator's machine reaches
// loopback for every page that it shows: one may not change anything here, nor read it under a name of its own that
// leads to this address. Non-browser clients are unaffected.
func Operator(handler http.Handler) http.Handler {
	handler = http.NewCrossOriginProtection().Handler(handler)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localName(r) {
			http.Error(w, fmt.Sprintf("this address goes by its number or as localhost, not as %q", r.Host), http.StatusForbidden)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// localName reports whether a request over loopback names the server by something that no stranger's DNS can lead there.
func localName(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return true // where others reach it, they may have a name for it
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	_, err = netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}
