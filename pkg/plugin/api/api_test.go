package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/api"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
)

func TestBudget(t *testing.T) {
	headers := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer KEY" || !strings.Contains(r.UserAgent(), "kubectl") {
			t.Errorf("headers %v", r.Header)
		}
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"account":{"name":"x","acls":["dns"]}}`))
	}))
	t.Cleanup(server.Close)
	client, err := api.New("KEY", server.URL, "kubectl/1")
	if err != nil {
		t.Fatal(err)
	}
	ask := func() api.Budget {
		t.Helper()
		if _, err := client.Account(t.Context()); err != nil {
			t.Fatal(err)
		}
		return client.Budget()
	}
	if b := ask(); b.Known {
		t.Errorf("nothing was told: %+v", b)
	}
	headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"] = "30", "many"
	if b := ask(); b.Known {
		t.Errorf("no number was told: %+v", b)
	}
	headers["X-RateLimit-Remaining"] = "7"
	if b := ask(); b != (api.Budget{Limit: 30, Remaining: 7, Known: true}) {
		t.Errorf("got %+v", b)
	}
}

func TestNew(t *testing.T) {
	if _, err := api.New("two words", "", ""); err == nil || strings.Contains(err.Error(), "two words") {
		t.Errorf("a key that is none: %v", err)
	}
	if _, err := api.New("KEY", "ftp://x", ""); err == nil {
		t.Error("a URL that is none, and no error")
	}
}

func TestKey(t *testing.T) {
	secret := func(name, key string) *v1.Secret {
		return &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name}, Data: map[string][]byte{"api-key": []byte(key)}}
	}
	both := &kube.Cluster{Client: fake.NewSimpleClientset(secret(kube.CCMSecret, "ONE"), secret(kube.CSISecret, "TWO"))}
	one := &kube.Cluster{Client: fake.NewSimpleClientset(secret(kube.CCMSecret, ""), secret(kube.CSISecret, "TWO"))}
	none := &kube.Cluster{Client: fake.NewSimpleClientset()}
	tests := map[string]struct {
		env         string
		cluster     *kube.Cluster
		key, source string
	}{
		"the environment goes first": {" ENV\n", both, "ENV", "VULTR_API_KEY"},
		"then the first Secret":      {"", both, "ONE", "Secret kube-system/vultr-ccm"},
		"then the second":            {"", one, "TWO", "Secret kube-system/vultr-csi"},
		"none":                       {"", none, "", ""},
	}
	for name, test := range tests {
		getenv := func(name string) string { return map[string]string{api.EnvKey: test.env}[name] }
		key, source, err := api.Key(t.Context(), getenv, test.cluster, kube.CCMSecret, kube.CSISecret)
		if key != test.key || !strings.Contains(source, test.source) || (err != nil) != (test.key == "") {
			t.Errorf("%s: %q of %q, %v", name, key, source, err)
		}
	}
}
