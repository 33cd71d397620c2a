package release

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// newRegistry starts an empty registry and returns its address, and a counter of the requests that change it.
func newRegistry(t *testing.T) (string, *atomic.Int64) {
	t.Helper()
	var writes atomic.Int64
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			writes.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/vultr", &writes
}

// TestPush: what can be pulled is what was known before: by tag and by digest, for each architecture, whole.
func TestPush(t *testing.T) {
	at, _ := newRegistry(t)
	archives := []string{joined(t, "cloud-provider-vultr/ccm:v9", "a"), joined(t, "cloud-provider-vultr/csi-node:v9", "b")}
	images, err := ReadImages(archives)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := Push(t.Context(), archives, at, "v9")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{at + "/ccm@" + images[0].Digest, at + "/csi-node@" + images[1].Digest}; strings.Join(pushed, " ") != strings.Join(want, " ") {
		t.Errorf("pushed %v, want %v", pushed, want)
	}
	for i, image := range pushed {
		byDigest, err := name.NewDigest(image)
		if err != nil {
			t.Fatal(err)
		}
		index, err := remote.Index(byDigest)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(index); err != nil {
			t.Error(err)
		}
		for _, arch := range []string{"amd64", "arm64"} {
			if _, err := remote.Image(byDigest, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch})); err != nil {
				t.Errorf("for %s: %v", arch, err)
			}
		}
		byTag, err := remote.Head(byDigest.Tag("v9"))
		if err != nil || byTag.Digest.String() != images[i].Digest {
			t.Errorf("its tag names %v, %v", byTag, err)
		}
	}
}

// TestPushAgain: the same images can be pushed again; others never under a tag that is there, and then nothing is pushed at all.
func TestPushAgain(t *testing.T) {
	at, writes := newRegistry(t)
	first, second := joined(t, "cloud-provider-vultr/ccm:v9", "a"), joined(t, "cloud-provider-vultr/csi-node:v9", "b")
	pushed, err := Push(t.Context(), []string{second}, at, "v9")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Push(t.Context(), []string{second}, at, "v9")
	if err != nil || again[0] != pushed[0] {
		t.Errorf("pushed again it is %v, %v; it was %v", again, err, pushed)
	}
	before := writes.Load()
	changed := joined(t, "cloud-provider-vultr/csi-node:v9", "c")
	if _, err := Push(t.Context(), []string{first, changed}, at, "v9"); err == nil || !strings.Contains(err.Error(), "a version that was published is never changed") {
		t.Errorf("another image under the same tag: %v", err)
	}
	if n := writes.Load() - before; n != 0 {
		t.Errorf("%d requests have changed the registry", n)
	}
	if _, err := Push(t.Context(), []string{first, changed}, at, "v10"); err != nil {
		t.Errorf("under another tag: %v", err)
	}
}

// TestPushRefused: a registry that does not answer as it should is no registry without the image.
func TestPushRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	archives := []string{joined(t, "cloud-provider-vultr/ccm:v9", "a")}
	if _, err := Push(t.Context(), archives, strings.TrimPrefix(server.URL, "http://")+"/vultr", "v9"); err == nil || !strings.Contains(err.Error(), "looking for") {
		t.Errorf("a registry that forbids to look: %v", err)
	}
	if _, err := Push(t.Context(), archives, "", "v9"); err == nil {
		t.Error("without a registry the images went somewhere")
	}
	if _, err := Push(t.Context(), archives, "registry.example.com/vultr", "no tag"); err == nil {
		t.Error("a tag that is none is taken")
	}
}
