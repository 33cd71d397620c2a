package deploy

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
)

const appsPath = "/apis/apps/v1/namespaces/kube-system/"

// besideCluster answers what helm asks a cluster for while it renders: which version it is, what it knows of apps/v1, and the
// objects there, by their paths. What it has been asked for it keeps.
type besideCluster struct {
	objects map[string]string

	mu    sync.Mutex
	asked []string
}

func (c *besideCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked = append(c.asked, r.URL.Path)
	c.mu.Unlock()
	answer := func(code int, object any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(object) // helm has gone
	}
	apps := metav1.GroupVersionForDiscovery{GroupVersion: "apps/v1", Version: "v1"}
	switch path := r.URL.Path; {
	case path == "/version":
		answer(http.StatusOK, version.Info{Major: "1", Minor: "37", GitVersion: "v1.37.0"})
	case path == "/api":
		answer(http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	case path == "/api/v1":
		answer(http.StatusOK, metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, GroupVersion: "v1"})
	case path == "/apis":
		answer(http.StatusOK, metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{
			{Name: "apps", Versions: []metav1.GroupVersionForDiscovery{apps}, PreferredVersion: apps},
		}})
	case path == "/apis/apps/v1":
		answer(http.StatusOK, metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "apps/v1", APIResources: []metav1.APIResource{
			{Name: "statefulsets", Kind: "StatefulSet", Namespaced: true, Verbs: metav1.Verbs{"get"}},
			{Name: "daemonsets", Kind: "DaemonSet", Namespaced: true, Verbs: metav1.Verbs{"get"}},
		}})
	case c.objects[path] != "":
		answer(http.StatusOK, json.RawMessage(c.objects[path]))
	default:
		answer(http.StatusNotFound, metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
	}
}

// TestChartRefusesTheOfficialProgramsBeside: helm asks the cluster before it installs anything.
func TestChartRefusesTheOfficialProgramsBeside(t *testing.T) {
	object := func(kind, name, replicas string, containers ...string) string {
		return `{"apiVersion":"apps/v1","kind":"` + kind + `","metadata":{"name":"` + name + `","namespace":"kube-system"},"spec":{` + replicas +
			`"template":{"spec":{"containers":[{"name":"` + strings.Join(containers, `"},{"name":"`) + `"}]}}}}`
	}
	const set, node, ccm = appsPath + "statefulsets/csi-vultr-controller", appsPath + "daemonsets/csi-vultr-node", appsPath + "daemonsets/vultr-ccm"
	for name, c := range map[string]struct {
		values  string
		objects map[string]string
		want    string // "" is nothing
	}{
		"nothing":                         {"", nil, ""},
		"the official CSI controller":     {"", map[string]string{set: object("StatefulSet", "csi-vultr-controller", "", "csi-provisioner", "csi-vultr-plugin")}, "StatefulSet kube-system/csi-vultr-controller"},
		"scaled to nothing":               {"", map[string]string{set: object("StatefulSet", "csi-vultr-controller", `"replicas":0,`, "csi-vultr-plugin")}, ""},
		"the CCM alone":                   {"csi: {enabled: false}", map[string]string{set: object("StatefulSet", "csi-vultr-controller", "", "csi-vultr-plugin")}, ""},
		"the official node plugin":        {"", map[string]string{node: object("DaemonSet", "csi-vultr-node", "", "driver-registrar", "csi-vultr-plugin")}, "--cascade=orphan"},
		"both node plugins in a template": {"", map[string]string{node: object("DaemonSet", "csi-vultr-node", "", "csi-node", "csi-vultr-plugin")}, "--cascade=orphan"},
		"ours":                            {"", map[string]string{node: object("DaemonSet", "csi-vultr-node", "", "csi-node"), ccm: object("DaemonSet", "vultr-ccm", "", "vultr-ccm")}, ""},
		"the official CCM":                {"", map[string]string{ccm: object("DaemonSet", "vultr-ccm", "", "vultr-cloud-controller-manager")}, "DaemonSet kube-system/vultr-ccm"},
		"the driver alone":                {"ccm: {enabled: false}", map[string]string{ccm: object("DaemonSet", "vultr-ccm", "", "vultr-cloud-controller-manager")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := &besideCluster{objects: c.objects}
			server := httptest.NewServer(cluster)
			args := slices.Concat([]string{"template", "vultr", chartDir, "--namespace", "kube-system", "--dry-run=server", "--kube-apiserver", server.URL}, values(t, c.values))
			_, stderr, _ := helm(t, args...) // this cluster knows too little for what comes after
			server.Close()
			if got := strings.Contains(stderr, "docs/migrate.md"); got != (c.want != "") || !strings.Contains(stderr, c.want) {
				t.Errorf("helm says\n%s\nwant %q", stderr, c.want)
			}
			if !slices.ContainsFunc(cluster.asked, func(path string) bool { return strings.HasPrefix(path, appsPath) }) {
				t.Errorf("helm asked for %q alone", cluster.asked)
			}
		})
	}
}
