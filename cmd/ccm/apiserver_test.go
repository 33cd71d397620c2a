package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	restclient "k8s.io/client-go/rest"
)

// apiServer is as much of a Kubernetes API server as the controllers of Nodes need: nodes with list, watch, update,
// patch and delete, leases, events that are kept, and ConfigMaps that go nowhere.
type apiServer struct {
	url string

	mu       sync.Mutex
	version  int
	nodes    map[string]*v1.Node
	leases   map[string]*coordinationv1.Lease
	events   []*v1.Event
	official *appsv1.DaemonSet // the official manager's, nil without one
	watchers map[chan metav1.WatchEvent]struct{}
	requests map[string]int
}

func startAPIServer(tb testing.TB, nodes ...*v1.Node) *apiServer {
	tb.Helper()
	s := &apiServer{nodes: map[string]*v1.Node{}, leases: map[string]*coordinationv1.Lease{}, watchers: map[chan metav1.WatchEvent]struct{}{}, requests: map[string]int{}}
	for _, n := range nodes {
		s.nodes[n.Name] = n
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/nodes", s.list)
	mux.HandleFunc("GET /api/v1/services", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			answer(w, http.StatusOK, &v1.ServiceList{TypeMeta: metav1.TypeMeta{Kind: "ServiceList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}})
			return
		}
		refuseInitialEvents(w, r, func() { <-r.Context().Done() })
	})
	mux.HandleFunc("GET /apis/discovery.k8s.io/v1/endpointslices", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			answer(w, http.StatusOK, &discoveryv1.EndpointSliceList{
				TypeMeta: metav1.TypeMeta{Kind: "EndpointSliceList", APIVersion: "discovery.k8s.io/v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"},
			})
			return
		}
		refuseInitialEvents(w, r, func() { <-r.Context().Done() })
	})
	mux.HandleFunc("GET "+daemonSetPath, s.daemonSet)
	mux.HandleFunc("GET "+podsPath, noPods)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /api/v1/nodes/{name}", s.get)
	mux.HandleFunc("PUT /api/v1/nodes/{name}", s.update)
	mux.HandleFunc("PATCH /api/v1/nodes/{name}", s.patch)
	mux.HandleFunc("PATCH /api/v1/nodes/{name}/status", s.patch)
	mux.HandleFunc("DELETE /api/v1/nodes/{name}", s.remove)
	mux.HandleFunc("GET "+leasePath+"/{name}", s.getLease)
	mux.HandleFunc("POST "+leasePath, s.putLease)
	mux.HandleFunc("PUT "+leasePath+"/{name}", s.putLease)
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/events", s.event)
	mux.HandleFunc("GET /api/v1/namespaces/kube-system/configmaps", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, &v1.ConfigMapList{TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"}})
	})
	mux.HandleFunc("POST /api/v1/namespaces/kube-system/configmaps", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusCreated, &v1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{ResourceVersion: "1"}})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			answer(w, http.StatusCreated, &v1.Event{})
			return
		}
		answer(w, http.StatusNotFound, &metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[r.Method]++
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	tb.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	s.url = server.URL
	return s
}

func answer(w http.ResponseWriter, status int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object) // whoever asked has left
}

func (s *apiServer) list(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("watch") != "" {
		refuseInitialEvents(w, r, func() { s.watch(w, r) })
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &v1.NodeList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.version)}, TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}}
	for _, n := range s.nodes {
		list.Items = append(list.Items, *n)
	}
	answer(w, http.StatusOK, list)
}

// refuseInitialEvents makes the client list before it watches.
func refuseInitialEvents(w http.ResponseWriter, r *http.Request, watch func()) {
	if r.URL.Query().Get("sendInitialEvents") != "" {
		answer(w, http.StatusUnprocessableEntity, &metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity})
		return
	}
	watch()
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request) {
	events := make(chan metav1.WatchEvent, 10000)
	s.mu.Lock()
	s.watchers[events] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, events)
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case event := <-events:
			if json.NewEncoder(w).Encode(event) != nil || flush.Flush() != nil {
				return
			}
		}
	}
}

func (s *apiServer) get(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.nodes[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	answer(w, http.StatusOK, n)
}

// change replaces a Node and tells the watchers.
func (s *apiServer) change(w http.ResponseWriter, r *http.Request, next func(*v1.Node) (*v1.Node, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, ok := s.nodes[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	n, err := next(before)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.version++
	n.ResourceVersion = strconv.Itoa(s.version)
	n.Kind, n.APIVersion = "Node", "v1"
	s.nodes[n.Name] = n
	s.send("MODIFIED", n)
	answer(w, http.StatusOK, n)
}

func (s *apiServer) send(kind string, n *v1.Node) {
	raw, err := json.Marshal(n)
	if err != nil {
		panic(err) // a Node can be written always
	}
	event := metav1.WatchEvent{Type: kind}
	event.Object.Raw = raw
	for watcher := range s.watchers {
		watcher <- event
	}
}

func (s *apiServer) update(w http.ResponseWriter, r *http.Request) {
	n := &v1.Node{}
	body, err := io.ReadAll(r.Body)
	if err == nil { // it is JSON or protobuf
		_, _, err = scheme.Codecs.UniversalDeserializer().Decode(body, nil, n)
	}
	s.change(w, r, func(before *v1.Node) (*v1.Node, error) {
		n.Status = before.Status // it has a part of its own
		return n, err
	})
}

func (s *apiServer) patch(w http.ResponseWriter, r *http.Request) {
	var patch json.RawMessage
	err := json.NewDecoder(r.Body).Decode(&patch)
	s.change(w, r, func(before *v1.Node) (*v1.Node, error) {
		if err != nil {
			return nil, err
		}
		raw, err := json.Marshal(before)
		if err != nil {
			return nil, err
		}
		merged, err := strategicpatch.StrategicMergePatch(raw, patch, v1.Node{})
		if err != nil {
			return nil, err
		}
		n := &v1.Node{}
		return n, json.Unmarshal(merged, n)
	})
}

func (s *apiServer) remove(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.nodes[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	delete(s.nodes, n.Name)
	s.send("DELETED", n)
	answer(w, http.StatusOK, &metav1.Status{Status: metav1.StatusSuccess})
}

// count returns how many Nodes are as wanted.
func (s *apiServer) count(is func(*v1.Node) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, n := range s.nodes {
		if is(n) {
			count++
		}
	}
	return count
}

// clients builds clients as the library's builder does: each has a pace of its own.
type clients struct {
	url   string
	qps   float32
	burst int
}

func (c clients) Config(string) (*restclient.Config, error) {
	config := &restclient.Config{Host: c.url, QPS: c.qps, Burst: c.burst}
	config.ContentType = "application/json"
	return config, nil
}

func (c clients) ConfigOrDie(name string) *restclient.Config {
	config, _ := c.Config(name) // it never fails
	return config
}

func (c clients) Client(name string) (kubernetes.Interface, error) {
	return kubernetes.NewForConfig(c.ConfigOrDie(name))
}

func (c clients) ClientOrDie(name string) kubernetes.Interface {
	return kubernetes.NewForConfigOrDie(c.ConfigOrDie(name))
}

// freshNode is a Node as a kubelet registers it, with as much in it as real ones have.
func freshNode(name, address string) *v1.Node {
	n := &v1.Node{
		TypeMeta:   metav1.TypeMeta{Kind: "Node", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), ResourceVersion: "1", Labels: map[string]string{v1.LabelHostname: name}},
		Spec:       v1.NodeSpec{Taints: []v1.Taint{{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: v1.TaintEffectNoSchedule}}},
		Status: v1.NodeStatus{
			Addresses:  []v1.NodeAddress{{Type: v1.NodeHostName, Address: name}, {Type: v1.NodeInternalIP, Address: address}},
			Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}},
		},
	}
	for i := range 50 {
		image := "registry.example.com/some/longer/path/of/an/image-" + strconv.Itoa(i)
		n.Status.Images = append(n.Status.Images, v1.ContainerImage{
			Names:     []string{image + "@sha256:" + strings.Repeat("0123456789abcdef", 4), image + ":v1.2.3"},
			SizeBytes: 12345678,
		})
	}
	fields := strings.Repeat(`"f:some-field":{},`, 150)
	n.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet", Operation: "Update", FieldsV1: metav1.NewFieldsV1("{" + fields + `"f:x":{}}`)}}
	return n
}
