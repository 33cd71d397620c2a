package events

import (
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

// apiserver is the one call of an apiserver that is used.
type apiserver struct {
	*httptest.Server
	dir    string // of the account
	status int    // 0 means 201
	body   string
	// location is where a redirect leads.
	location string

	mu     sync.Mutex
	events []corev1.Event
	tokens []string
}

// newAPIServer serves with TLS, and has an account that trusts it.
func newAPIServer(t *testing.T) *apiserver {
	t.Helper()
	a := &apiserver{dir: t.TempDir()}
	a.serve(t, func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var e corev1.Event
		if err := yaml.UnmarshalStrict(body, &e); err != nil {
			t.Errorf("%s is not an Event: %v", body, err)
		}
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/namespaces/"+e.Namespace+"/events" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
		}
		a.events = append(a.events, e)
		a.tokens = append(a.tokens, r.Header.Get("Authorization"))
		if a.location != "" {
			w.Header().Set("Location", a.location)
		}
		if a.status != 0 {
			w.WriteHeader(a.status)
		} else {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = w.Write([]byte(a.body))
	})
	return a
}

// serve begins to answer, and puts the account of a pod into the directory.
func (a *apiserver) serve(t *testing.T, handler http.HandlerFunc) {
	t.Helper()
	a.Server = httptest.NewTLSServer(handler)
	t.Cleanup(a.Close)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	a.put(t, "ca.crt", string(certificate))
	a.put(t, "token", "THETOKEN\n")
}

func (a *apiserver) put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// api is what a process in the apiserver's cluster gets.
func (a *apiserver) api(t *testing.T) *API {
	t.Helper()
	u, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port()}
	kube, err := kubeapi.InCluster(func(name string) string { return env[name] }, a.dir)
	if err != nil {
		t.Fatal(err)
	}
	return New(kube, "block.csi.vultr.com")
}

func aWarning() Warning {
	return Warning{
		Claim:  Claim{Namespace: "shop", Name: "data", UID: "0f3c9c0e-9f5c-4b3e-8a53-4a6b1c8f0d11"},
		Reason: DeprecatedParameter, Message: "use the other one", At: time.Date(2026, 11, 28, 1, 2, 3, 4, time.UTC),
	}
}

func TestWrite(t *testing.T) {
	a := newAPIServer(t)
	api := a.api(t)
	if err := api.Write(t.Context(), aWarning()); err != nil {
		t.Fatal(err)
	}
	a.put(t, "token", "ROTATED") // tokens expire within the hour
	if err := api.Write(t.Context(), aWarning()); err != nil {
		t.Fatal(err)
	}
	if a.tokens[0] != "Bearer THETOKEN" || a.tokens[1] != "Bearer ROTATED" {
		t.Errorf("the tokens were %v", a.tokens)
	}
	e := a.events[0]
	want := corev1.ObjectReference{
		APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "shop", Name: "data", UID: "0f3c9c0e-9f5c-4b3e-8a53-4a6b1c8f0d11",
	}
	if e.InvolvedObject != want {
		t.Errorf("it is about %+v", e.InvolvedObject)
	}
	if e.Kind != "Event" || e.APIVersion != "v1" || e.Namespace != "shop" || e.Type != corev1.EventTypeWarning || e.Reason != "DeprecatedParameter" ||
		e.Message != "use the other one" || e.Count != 1 || e.Source.Component != "block.csi.vultr.com" || e.ReportingController != "block.csi.vultr.com" {
		t.Errorf("it is %+v", e)
	}
	if at := e.FirstTimestamp.UTC(); !at.Equal(time.Date(2026, 11, 28, 1, 2, 3, 0, time.UTC)) || !e.LastTimestamp.Equal(&e.FirstTimestamp) {
		t.Errorf("it is of %v, %v", e.FirstTimestamp, e.LastTimestamp)
	}
	if a.events[1].Name != e.Name {
		t.Errorf("the same warning makes two Events, %s and %s", e.Name, a.events[1].Name)
	}
}

// TestWhatEventsAreAbout: each is where `kubectl describe` of its object looks for it.
func TestWhatEventsAreAbout(t *testing.T) {
	for _, c := range []struct {
		claim Claim
		want  reference
	}{
		{Claim{Namespace: "shop", Name: "data", UID: "u"}, reference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "shop", Name: "data", UID: "u"}},
		{Snapshot("shop", "daily", "u"), reference{APIVersion: "snapshot.storage.k8s.io/v1", Kind: "VolumeSnapshot", Namespace: "shop", Name: "daily", UID: "u"}},
		{Node("worker-1"), reference{APIVersion: "v1", Kind: "Node", Name: "worker-1", UID: "worker-1"}},
		{Driver, reference{APIVersion: "storage.k8s.io/v1", Kind: "CSIDriver", Name: "block.csi.vultr.com"}},
	} {
		if got := about(c.claim); got != c.want || !c.claim.Known() {
			t.Errorf("%+v is %+v", c.claim, got)
		}
	}
}

// TestEventsOfOneClaim: another text or another claim of the same name is another Event, and every name is valid.
func TestEventsOfOneClaim(t *testing.T) {
	text, reason, claim, long := aWarning(), aWarning(), aWarning(), aWarning()
	text.Message = "another text"
	reason.Reason = "Another"
	claim.Claim.UID = "1f3c9c0e-9f5c-4b3e-8a53-4a6b1c8f0d11"
	long.Claim.Name = strings.Repeat("a", 235) + "-" + strings.Repeat("b", 17)
	long.Message = strings.Repeat("ä", 600)
	names := map[string]bool{}
	api := &API{}
	for _, w := range []Warning{aWarning(), text, reason, claim, long} {
		e := api.event(w)
		names[e.Metadata.Name] = true
		if faults := validation.IsDNS1123Subdomain(e.Metadata.Name); len(faults) > 0 {
			t.Errorf("%s: %v", e.Metadata.Name, faults)
		}
		if !strings.HasPrefix(e.Metadata.Name, w.Claim.Name[:4]) || len(e.Message) > 1024 || strings.ToValidUTF8(e.Message, "?") != e.Message {
			t.Errorf("name %s, message %s", e.Metadata.Name, e.Message)
		}
	}
	if len(names) != 5 {
		t.Errorf("the names are %v", names)
	}
}

func TestWriteRefused(t *testing.T) {
	for _, c := range []struct {
		status  int
		fails   bool
		refused bool
	}{
		{http.StatusCreated, false, false},
		{http.StatusConflict, false, false}, // it is there already
		{http.StatusForbidden, true, true},
		{http.StatusNotFound, true, true}, // the namespace is gone
		{http.StatusUnprocessableEntity, true, true},
		{http.StatusUnauthorized, true, false},
		{http.StatusTooManyRequests, true, false},
		{http.StatusInternalServerError, true, false},
	} {
		a := newAPIServer(t)
		a.status, a.body = c.status, `{"kind":"Status","message":"the reason in words"}`
		err := a.api(t).Write(t.Context(), aWarning())
		if (err != nil) != c.fails || errors.Is(err, errRefused) != c.refused {
			t.Errorf("%d: %v", c.status, err)
		}
		if err != nil && !strings.Contains(err.Error(), "the reason in words") {
			t.Errorf("%d: %v does not say why", c.status, err)
		}
		if err != nil && strings.Contains(err.Error(), "THETOKEN") {
			t.Errorf("%d: %v has the token", c.status, err)
		}
	}
}

// TestWriteTrustsOnlyTheCluster: another server must not get the token.
func TestWriteTrustsOnlyTheCluster(t *testing.T) {
	a := newAPIServer(t)
	api := a.api(t)
	a.put(t, "ca.crt", "nonsense")
	if err := api.Write(t.Context(), aWarning()); err == nil || len(a.events) != 0 {
		t.Errorf("without a certificate: %v", err)
	}
	a.put(t, "ca.crt", otherCertificate)
	if err := api.Write(t.Context(), aWarning()); err == nil || len(a.events) != 0 {
		t.Errorf("with another certificate: %v", err)
	}
}

// otherCertificate is of an authority that exists for this test only.
const otherCertificate = `-----BEGIN CERTIFICATE-----
MIIBdjCCAR2gAwIBAgIUFUwuwND2uzGY+IeifMmOEO0Ss1IwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTI4MTU1NzU5WhgPMjEyNjExMDQxNTU3
NTlaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
b81P8nH0Z3f7vBtaXcbu5pRyeh8hV7qBRCd14xppXjdLqlR6rqZ2JuMkY23W3Xw+
hweZgsK4W2/47nP95Nbj/6NTMFEwHQYDVR0OBBYEFEIP6gxe3Lj2TrVGRtfUhqtC
BcpWMB8GA1UdIwQYMBaAFEIP6gxe3Lj2TrVGRtfUhqtCBcpWMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgTwi1LdF0PqbwgjrSMKrOJTxEgpLQiHwe
9dAnD4qXHVACIEjYh77uNyJV0gIRNnWPubNKG1jn0FkG00avKIvexqsT
-----END CERTIFICATE-----
`

// TestWriteFollowsNoRedirect: the token is for the apiserver alone.
func TestWriteFollowsNoRedirect(t *testing.T) {
	a := newAPIServer(t)
	a.status, a.location = http.StatusTemporaryRedirect, "/api/v1/namespaces/shop/events"
	if err := a.api(t).Write(t.Context(), aWarning()); !errors.Is(err, errRefused) || len(a.events) != 1 {
		t.Errorf("got %v after %d requests", err, len(a.events))
	}
}
