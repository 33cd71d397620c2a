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

// lookupPath finds the text of a path below /v1/, /latest/ and the other names that boot programs ask for.
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
	case "/latest/meta-data/hostname":
		return doc.Hostname, true
	case "/current/ssh-keys":
		return strings.Join(doc.SSHKeys, "\n"), true
	case "/current/meta-data/ipv6-addr":
		return doc.MainIPv6, doc.MainIPv6 != ""
	}
	return "", false
}
