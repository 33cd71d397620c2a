package kubeapi

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
)

type named struct {
	Metadata struct {
		Name            string            `json:"name"`
		ResourceVersion string            `json:"resourceVersion"`
		Labels          map[string]string `json:"labels"`
	} `json:"metadata"`
}

const nodes = "/api/v1/nodes"

func client(t *testing.T, s *testkube.Server) *Client {
	t.Helper()
	c, err := InCluster(s.Getenv, s.AccountDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestInCluster(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{}
	getenv := func(name string) string { return env[name] }
	for range 2 {
		if _, err := InCluster(getenv, dir); !errors.Is(err, ErrNotInCluster) {
			t.Errorf("with %v: %v", env, err)
		}
		env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"] = "fd00::1", "443"
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := InCluster(getenv, dir)
	if err != nil || c.host != "[fd00::1]:443" {
		t.Errorf("got %+v, %v", c, err)
	}
}

// TestCalls: an object is read and changed, and a change of what somebody else changed meanwhile is a conflict.
func TestCalls(t *testing.T) {
	s := testkube.New(t)
	c := client(t, s)
	s.Put(nodes+"/a", `{}`)
	var before, after named
	if err := c.Get(t.Context(), nodes+"/a", &before); err != nil || before.Metadata.Name != "a" {
		t.Fatalf("got %+v, %v", before, err)
	}
	patch := func() error {
		return c.Do(t.Context(), http.MethodPatch, nodes+"/a", MergePatch, map[string]any{"metadata": map[string]any{
			"resourceVersion": before.Metadata.ResourceVersion, "labels": map[string]string{"x": "y"},
		}}, &after)
	}
	if err := patch(); err != nil || after.Metadata.Labels["x"] != "y" {
		t.Errorf("got %+v, %v", after, err)
	}
	if err := patch(); !IsConflict(err) || !IsRefused(err) {
		t.Errorf("the second change of one version: %v", err)
	}
}

// TestUserAgent: the account is shared with the sidecars, and by this alone an audit log tells who asked.
func TestUserAgent(t *testing.T) {
	agents := make(chan string, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.UserAgent()
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, content := range map[string][]byte{"ca.crt": certificate, "token": []byte("x")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &Client{host: server.Listener.Addr().String(), dir: dir}
	if err := c.Get(t.Context(), nodes+"/a", &named{}); err != nil {
		t.Fatal(err)
	}
	if got := <-agents; !strings.HasPrefix(got, "cloud-provider-vultr-csi/") {
		t.Errorf("the driver calls itself %q", got)
	}
}

func TestFailures(t *testing.T) {
	s := testkube.New(t)
	c := client(t, s)
	for code, want := range map[int]struct{ notFound, refused bool }{
		http.StatusNotFound: {true, true}, http.StatusForbidden: {false, true}, http.StatusUnauthorized: {false, false},
		http.StatusTooManyRequests: {false, false}, http.StatusInternalServerError: {false, false}, http.StatusTemporaryRedirect: {false, true},
	} {
		s.Fault(func(string, string) int { return code })
		err := c.Get(t.Context(), nodes+"/a", nil)
		if err == nil || IsNotFound(err) != want.notFound || IsRefused(err) != want.refused {
			t.Errorf("%d: %v", code, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "the reason in words") || !strings.Contains(err.Error(), "GET "+nodes+"/a")) {
			t.Errorf("%d: %v does not say what was asked and why it failed", code, err)
		}
		if err != nil && strings.Contains(err.Error(), testkube.Token) {
			t.Errorf("%v has the token", err)
		}
	}
	s.Close()
	if err := c.Get(t.Context(), nodes+"/a", nil); err == nil || IsNotFound(err) || IsRefused(err) {
		t.Errorf("the server is away: %v", err)
	}
}

// TestListAndWatch: all pages of a list are read, and a watch goes on where the list ended.
func TestListAndWatch(t *testing.T) {
	s := testkube.New(t)
	c := client(t, s)
	for i := range 5 {
		// A page is too long for one packet, so its end comes after what is decoded.
		s.Put(fmt.Sprintf("%s/n%d", nodes, i), `{"spec":{"podCIDR":"`+strings.Repeat("x", 5000)+`"}}`)
	}
	var got []string
	version, err := List(t.Context(), c, nodes, 2, func(n named) error { got = append(got, n.Metadata.Name); return nil })
	if err != nil || !slices.Equal(got, []string{"n0", "n1", "n2", "n3", "n4"}) {
		t.Fatalf("got %s, %v", got, err)
	}
	if n := s.Connections(); n != 1 {
		t.Errorf("3 pages took %d connections", n)
	}
	s.Put(nodes+"/later", `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var events []string
	err = Watch(ctx, c, nodes, version, func(e Event[named]) error {
		events = append(events, e.Type+" "+e.Object.Metadata.Name)
		switch len(events) {
		case 1:
			s.Put(nodes+"/n1", `{}`)
		case 2:
			s.Delete(nodes + "/n2")
		case 3:
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(events, []string{"ADDED later", "MODIFIED n1", "DELETED n2"}) {
		t.Errorf("got %s, %v", events, err)
	}
	s.Forget()
	if err := Watch(t.Context(), c, nodes, version, func(Event[named]) error { return nil }); !IsGone(err) {
		t.Errorf("a watch from a version that is too old: %v", err)
	}
}

// TestWatchThatTheServerEnds: the end of a watch is no failure. If the caller has gone meanwhile it is the caller's end, also
// where the server's was there before: here it comes with the event, so that it is always read.
func TestWatchThatTheServerEnds(t *testing.T) {
	s := testkube.New(t)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"type":"ADDED","object":{"metadata":{"name":"a"}}}`) // the test sees what is missing
	})
	c := client(t, s)
	for _, gone := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		events := 0
		err := Watch(ctx, c, nodes, "1", func(Event[named]) error {
			events++
			if gone {
				cancel()
			}
			return nil
		})
		cancel()
		if events != 1 || !gone && err != nil || gone && !errors.Is(err, context.Canceled) {
			t.Errorf("the caller has gone: %t; got %d events, %v", gone, events, err)
		}
	}
}
