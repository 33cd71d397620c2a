package metadata

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// New serves the metadata of the instance that lookup finds for the asker's address.
func New(lookup func(netip.Addr) (simulator.MetadataDoc, bool), log klog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doc, ok := find(lookup, r.RemoteAddr)
		if !ok {
			log.Info("Metadata was asked for from an address that no instance has", "address", r.RemoteAddr, "path", r.URL.Path)
			http.Error(w, "Not Found", http.StatusNotFound)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		answer(w, r.URL.Path, doc, log)
	})
}

func find(lookup func(netip.Addr) (simulator.MetadataDoc, bool), remote string) (simulator.MetadataDoc, bool) {
	address, err := netip.ParseAddrPort(remote)
	if err != nil {
		return simulator.MetadataDoc{}, false
	}
	return lookup(address.Addr().Unmap().WithZone(""))
}

func answer(w http.ResponseWriter, path string, doc simulator.MetadataDoc, log klog.Logger) {
	text, err := json.Marshal(documentOf(doc))
	if err != nil {
		log.Error(err, "Writing the metadata document")
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	if path == "/v1.json" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text) // an asker that hung up
		return
	}
	body, ok := lookupPath(path, text, doc)
	if !ok {
		http.Error(w, "Not Found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(body)) // an asker that hung up
}

// resolverV6 is the platform's name server for guests with IPv6.
const resolverV6 = "2001:19f0:300:1704::6"

// lookupPath finds the text of a path below /v1/, /latest/ and the other names that boot programs ask for. What the
// platform has below /v1/internal/ is unknown. So is whether it answers 404 for what a guest does not have.
func lookupPath(path string, text []byte, doc simulator.MetadataDoc) (string, bool) {
	if rest, ok := strings.CutPrefix(path, "/v1/"); ok {
		var tree any
		if json.Unmarshal(text, &tree) != nil {
			return "", false
		}
		return walk(tree, rest)
	}
	switch path {
	case "/latest/user-data", "/user-data/user-data":
		return doc.UserData, doc.UserData != ""
	case "/latest/startup-script":
		return doc.StartupScript, doc.StartupScript != ""
	case "/latest/meta-data/hostname":
		return doc.Hostname, true
	case "/current/ssh-keys":
		return strings.Join(doc.SSHKeys, "\n"), true
	case "/current/meta-data/ipv6-addr":
		return doc.MainIPv6, doc.MainIPv6 != ""
	case "/current/ipv6-dns1":
		return resolverV6, doc.MainIPv6 != ""
	}
	return "", false
}
