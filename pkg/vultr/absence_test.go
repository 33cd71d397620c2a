package vultr

import (
	"net/http"
	"testing"
)

// A server is only gone if it was itself asked for and the API itself said so.
func TestWhatProvesNoAbsence(t *testing.T) {
	metal := map[string]any{"bare_metal": map[string]any{
		"id": idA, "label": "metal", "region": "ewr", "main_ip": "192.0.2.7", "vpcs": []map[string]string{{"id": idB}},
	}}
	missing := func(w http.ResponseWriter) {
		writeJSON(w, http.StatusNotFound, map[string]any{"error": "Invalid instance-id.", "status": 404})
	}
	page := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("<html>404 Not Found</html>")) // a client that left is the test's business
	}
	tests := map[string]struct {
		machine, metal, vpcs func(http.ResponseWriter)
		exists, gone         bool
	}{
		"nowhere": {machine: missing, metal: missing, gone: true},
		"the networks of a server that exists are missing": {
			machine: missing, vpcs: missing, exists: true,
			metal: func(w http.ResponseWriter) { writeJSON(w, http.StatusOK, metal) },
		},
		"a proxy's page":                 {machine: page, metal: page},
		"a proxy's page for one of both": {machine: missing, metal: page},
		"JSON of somebody else": {
			machine: missing,
			metal: func(w http.ResponseWriter) {
				writeJSON(w, http.StatusNotFound, map[string]string{"detail": "no upstream"})
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/v2/instances/" + idA:
					tt.machine(w)
				case "/v2/bare-metals/" + idA:
					tt.metal(w)
				case "/v2/bare-metals/" + idA + "/vpcs":
					tt.vpcs(w)
				}
			})
			for range 2 { // the second time the kind is known
				in, err := client.Instance(t.Context(), idA)
				if IsNotFound(err) != tt.gone || (err == nil) != tt.exists {
					t.Fatalf("got %+v, %v; want gone %t, exists %t", in, err, tt.gone, tt.exists)
				}
			}
		})
	}
}
