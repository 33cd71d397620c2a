// Package testkube is as much of an apiserver as tests of small clients need: objects over HTTPS, with resource versions,
// lists in pages, merge patches and watches.
package testkube

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Token is the token of the account.
const Token = "THETOKEN" //nolint:gosec // no credential: the server of the tests is the only one that knows it

type object = map[string]any

type change struct {
	kind string // as in a watch
	path string
	what object
}

// Server is the apiserver. It ends with the test.
type Server struct {
	*httptest.Server
	// AccountDir is the directory of an account that trusts the server and is trusted by it.
	AccountDir string

	t       testing.TB
	mu      sync.Mutex
	objects map[string]object
	// changes are all that there were; the version of an object is the number of changes then.
	changes  []change
	news     chan struct{} // closed with each change
	requests []string
	fault    func(method, path string) int
	oldest   int
	// Connections that were made, and those that are open.
	made, open int
	ended      *sync.Cond // a connection has
}

// Connections waits until its clients have closed all connections, and returns how many there were.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.open > 0 {
		s.ended.Wait()
	}
	return s.made
}

// connection notes that one has begun or ended.
func (s *Server) connection(_ net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.made++
		s.open++
	case http.StateClosed, http.StateHijacked:
		s.open--
		s.ended.Broadcast()
	default:
	}
}

// New starts a server without objects.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, AccountDir: t.TempDir(), objects: map[string]object{}, news: make(chan struct{})}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.ended = sync.NewCond(&s.mu)
	s.Config.ConnState = s.connection
	s.StartTLS()
	t.Cleanup(s.Close)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for name, content := range map[string][]byte{"ca.crt": certificate, "token": []byte(Token + "\n")} {
		if err := os.WriteFile(filepath.Join(s.AccountDir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Getenv is the environment of a process in the cluster.
func (s *Server) Getenv(name string) string {
	u, err := url.Parse(s.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	return map[string]string{"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port()}[name]
}

// Environ is the same as Getenv, for a program that is started.
func (s *Server) Environ() []string {
	var all []string
	for _, name := range []string{"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"} {
		all = append(all, name+"="+s.Getenv(name))
	}
	return all
}

// Put creates the object at the path, or replaces it.
func (s *Server) Put(path, content string) {
	s.t.Helper()
	var o object
	if err := json.Unmarshal([]byte(content), &o); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(path, o)
}

func (s *Server) put(path string, o object) {
	kind := "MODIFIED"
	if s.objects[path] == nil {
		kind = "ADDED"
	}
	s.objects[path] = o
	s.changed(kind, path, o)
}

// changed gives the object its version and tells the watches.
func (s *Server) changed(kind, path string, o object) {
	metadata, ok := o["metadata"].(object)
	if !ok {
		metadata = object{}
		o["metadata"] = metadata
	}
	metadata["name"] = path[strings.LastIndex(path, "/")+1:]
	metadata["resourceVersion"] = strconv.Itoa(len(s.changes) + 1)
	s.changes = append(s.changes, change{kind, path, o})
	close(s.news)
	s.news = make(chan struct{})
}

// Delete deletes the object at the path.
func (s *Server) Delete(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.objects[path]; o != nil {
		delete(s.objects, path)
		s.changed("DELETED", path, maps.Clone(o))
	}
}

// Object returns the object at the path as JSON, "" without one.
func (s *Server) Object(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[path] == nil {
		return ""
	}
	return string(s.encode(s.objects[path]))
}

// Fault has requests answered with the code that the function returns, unless it is 0. It may change objects first. A
// watch is of the method WATCH.
func (s *Server) Fault(f func(method, path string) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Forget has lists and watches refuse versions before this one as too old.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oldest = len(s.changes) + 1
}

// Requests returns the methods and paths of all requests.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if r.URL.Query().Get("watch") != "" {
		method = "WATCH"
	}
	s.mu.Lock()
	s.requests = append(s.requests, method+" "+r.URL.Path)
	fault := s.fault
	s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+Token {
		s.fail(w, http.StatusUnauthorized)
		return
	}
	if fault != nil {
		if code := fault(method, r.URL.Path); code != 0 {
			s.fail(w, code)
			return
		}
	}
	switch method {
	case http.MethodGet:
		s.get(w, r)
	case http.MethodPatch:
		s.patch(w, r)
	case "WATCH":
		s.watch(w, r)
	default:
		s.fail(w, http.StatusMethodNotAllowed)
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.objects[r.URL.Path]; o != nil {
		s.answer(w, s.encode(o))
		return
	}
	if s.isList(r.URL.Path) {
		s.list(w, r)
		return
	}
	s.fail(w, http.StatusNotFound)
}

// isList reports whether the path is that of all objects of a kind.
func (s *Server) isList(path string) bool {
	return slices.Contains([]string{"/api/v1/nodes", "/apis/storage.k8s.io/v1/csinodes", "/apis/storage.k8s.io/v1/volumeattachments"}, path)
}

// list answers with a page, which ends after limit objects.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	var paths []string
	for path := range s.objects {
		if strings.HasPrefix(path, r.URL.Path+"/") && path > r.URL.Query().Get("continue") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	metadata := object{"resourceVersion": strconv.Itoa(len(s.changes))}
	if limit, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil && limit > 0 && len(paths) > limit {
		paths = paths[:limit]
		metadata["continue"] = paths[limit-1]
	}
	items := []object{}
	for _, path := range paths {
		items = append(items, s.objects[path])
	}
	s.answer(w, s.encode(object{"metadata": metadata, "items": items}))
}

// patch applies a merge patch, if its resource version is the object's.
func (s *Server) patch(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var patch object
	if err != nil || r.Header.Get("Content-Type") != "application/merge-patch+json" || json.Unmarshal(body, &patch) != nil {
		s.fail(w, http.StatusUnsupportedMediaType)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[r.URL.Path]
	if o == nil {
		s.fail(w, http.StatusNotFound)
		return
	}
	if metadata, ok := patch["metadata"].(object); ok && metadata["resourceVersion"] != nil {
		if have, _ := o["metadata"].(object); have["resourceVersion"] != metadata["resourceVersion"] { //nolint:errcheck // an object without metadata has no version
			s.fail(w, http.StatusConflict)
			return
		}
	}
	var changed object
	if err := json.Unmarshal(s.encode(o), &changed); err != nil {
		s.t.Error(err)
	}
	merge(changed, patch)
	s.put(r.URL.Path, changed)
	s.answer(w, s.encode(changed))
}

func merge(into, patch object) {
	for key, value := range patch {
		if value == nil {
			delete(into, key)
			continue
		}
		below, isObject := value.(object)
		if !isObject {
			into[key] = value
			continue
		}
		have, ok := into[key].(object)
		if !ok {
			have = object{}
			into[key] = have
		}
		merge(have, below)
	}
}

// watch tells the changes after the version, until the client goes or the server ends.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	s.mu.Lock()
	tooOld := from < s.oldest
	s.mu.Unlock()
	if err != nil || tooOld {
		s.answer(w, s.encode(object{"type": "ERROR", "object": object{"code": http.StatusGone, "message": "too old resource version"}}))
		return
	}
	flusher, ok := w.(http.Flusher)
	if !ok {
		s.fail(w, http.StatusInternalServerError)
		return
	}
	flusher.Flush()
	for {
		s.mu.Lock()
		news, changes := s.news, s.changes[from:]
		from = len(s.changes)
		var lines []byte
		for _, c := range changes {
			if strings.HasPrefix(c.path, r.URL.Path+"/") {
				lines = append(append(lines, s.encode(object{"type": c.kind, "object": c.what})...), '\n')
			}
		}
		s.mu.Unlock()
		s.answer(w, lines)
		flusher.Flush()
		select {
		case <-news:
		case <-r.Context().Done():
			return
		}
	}
}

// EndWatches ends all connections, as a restart of the apiserver does.
func (s *Server) EndWatches() { s.CloseClientConnections() }

func (s *Server) encode(o object) []byte {
	raw, err := json.Marshal(o)
	if err != nil {
		s.t.Error(err)
	}
	return raw
}

func (s *Server) answer(w http.ResponseWriter, body []byte) {
	_, _ = w.Write(body) // a client that left is the test's business
}

func (s *Server) fail(w http.ResponseWriter, code int) {
	w.WriteHeader(code)
	s.answer(w, fmt.Appendf(nil, `{"kind":"Status","message":"the reason in words","code":%d}`, code))
}
