package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// frozen is an API server whose objects never change: a large cluster in which nothing happens. It sends objects as a stream to
// who begins to watch, as an API server does today, so that no client has them all in memory as a text.
type frozen struct {
	url string
	// maps are the ConfigMaps of kube-system, by name.
	maps map[string]*v1.ConfigMap

	mu     sync.Mutex
	writes []string       // but for Events
	told   map[string]int // Events by their reasons
}

// kindOf is all objects of a kind as the server sends them.
type kindOf struct {
	kind, version string
	objects       []json.RawMessage
}

// add keeps an object, which has to have its kind in it.
func (k *kindOf) add(tb testing.TB, object any) {
	tb.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		tb.Fatal(err)
	}
	k.objects = append(k.objects, text)
}

// startFrozen serves these kinds by their paths.
func startFrozen(tb testing.TB, maps map[string]*v1.ConfigMap, kinds map[string]*kindOf) *frozen {
	tb.Helper()
	f := &frozen{maps: maps, told: map[string]int{}}
	mux := http.NewServeMux()
	for path, kind := range kinds {
		mux.HandleFunc("GET "+path, kind.serve)
	}
	mux.HandleFunc("GET "+podsPath, noPods)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /api/v1/namespaces/kube-system/configmaps/{name}", func(w http.ResponseWriter, r *http.Request) {
		if found := f.maps[r.PathValue("name")]; found != nil {
			answer(w, http.StatusOK, found)
			return
		}
		notFound(w)
	})
	mux.HandleFunc("/", f.other)
	server := httptest.NewServer(mux)
	tb.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	f.url = server.URL
	return f
}

// other takes Events, and refuses what would change anything else.
func (f *frozen) other(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet:
		notFound(w)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/events"):
		event := &v1.Event{}
		if err := decode(r, event); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		event.Kind, event.APIVersion = "Event", "v1"
		f.mu.Lock()
		f.told[event.Reason]++
		f.mu.Unlock()
		answer(w, http.StatusCreated, event)
	default:
		f.mu.Lock()
		f.writes = append(f.writes, r.Method+" "+r.URL.Path)
		f.mu.Unlock()
		answer(w, http.StatusForbidden, &metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden})
	}
}

// written returns the requests that would have changed something.
func (f *frozen) written() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

// events returns how many Events there were with a reason.
func (f *frozen) events(reason string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told[reason]
}

// serve answers lists and watches.
func (k *kindOf) serve(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("watch") == "" {
		answer(w, http.StatusOK, map[string]any{
			"kind": k.kind + "List", "apiVersion": k.version, "metadata": map[string]any{"resourceVersion": "1"}, "items": append([]json.RawMessage{}, k.objects...),
		})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if query.Get("sendInitialEvents") == "true" {
		for _, object := range k.objects {
			if !send(w, "ADDED", object) {
				return
			}
		}
		end := map[string]any{"kind": k.kind, "apiVersion": k.version, "metadata": map[string]any{
			"resourceVersion": "1", "annotations": map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}}
		if text, err := json.Marshal(end); err != nil || !send(w, "BOOKMARK", text) {
			return
		}
	}
	if http.NewResponseController(w).Flush() == nil {
		<-r.Context().Done()
	}
}

// send reports whether whoever watches is still there.
func send(w io.Writer, kind string, object json.RawMessage) bool {
	return json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": object}) == nil
}
