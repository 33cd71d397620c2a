package events

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// listing is an apiserver with this handler, and the client of a pod in its cluster.
func listing(t *testing.T, handler http.HandlerFunc) *API {
	t.Helper()
	a := &apiserver{dir: t.TempDir()}
	a.serve(t, handler)
	return a.api(t)
}

func volumeOf(driver, handle string) corev1.PersistentVolume {
	return corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{
		CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: handle},
	}}}
}

// TestPersistentVolumes: those of this driver, of all pages, with their claims.
func TestPersistentVolumes(t *testing.T) {
	claimed := volumeOf("block.csi.vultr.com", "two")
	claimed.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "shop", Name: "data", UID: "of data"}
	api := listing(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/api/v1/persistentvolumes" || r.Header.Get("Authorization") != "Bearer THETOKEN" || r.URL.Query().Get("limit") != "500" {
			t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
		}
		list := corev1.PersistentVolumeList{}
		switch r.URL.Query().Get("continue") {
		case "":
			list.Continue = "a/b+c="
			list.Items = []corev1.PersistentVolume{volumeOf("block.csi.vultr.com", "one"), volumeOf("other.driver", "another"), {}}
		case "a/b+c=":
			list.Items = []corev1.PersistentVolume{claimed}
		default:
			t.Errorf("asked for %s", r.URL)
		}
		if err := json.NewEncoder(w).Encode(list); err != nil {
			t.Error(err)
		}
	})
	got, err := api.PersistentVolumes(t.Context())
	want := []PersistentVolume{{Handle: "one"}, {Handle: "two", Claim: Claim{Namespace: "shop", Name: "data", UID: "of data"}}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestPersistentVolumesInPart: a list of which a page is missing is none, and neither is one that does not end.
func TestPersistentVolumesInPart(t *testing.T) {
	for name, c := range map[string]struct {
		second func(w http.ResponseWriter)
		words  string
	}{
		"expired":   {func(w http.ResponseWriter) { w.WriteHeader(http.StatusGone) }, "410"},
		"forbidden": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }, "403"},
		"cut off":   {func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"items":[`)) }, "PersistentVolumes"},
		"endless":   {func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"metadata":{"continue":"x"}}`)) }, "does not end"},
	} {
		api := listing(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("continue") == "" {
				_, _ = fmt.Fprint(w, `{"metadata":{"continue":"x"},"items":[{"spec":{"csi":{"driver":"block.csi.vultr.com","volumeHandle":"one"}}}]}`)
				return
			}
			c.second(w)
		})
		got, err := api.PersistentVolumes(t.Context())
		if err == nil || got != nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// TestEventAboutTheDriver: it is about an object without a namespace, which only the namespace "default" may hold.
func TestEventAboutTheDriver(t *testing.T) {
	a := newAPIServer(t)
	w := aWarning()
	w.Claim = Driver
	if err := a.api(t).Write(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	e := a.events[0]
	if want := (corev1.ObjectReference{APIVersion: "storage.k8s.io/v1", Kind: "CSIDriver", Name: "block.csi.vultr.com"}); e.InvolvedObject != want || e.Namespace != "default" {
		t.Errorf("it is about %+v, in %q", e.InvolvedObject, e.Namespace)
	}
	if !Driver.Known() {
		t.Error("no Event can be written about it")
	}
}

// TestEventAboutANode: it is where kubectl describe looks for it.
func TestEventAboutANode(t *testing.T) {
	a := newAPIServer(t)
	w := aWarning()
	w.Claim = Node("worker-1")
	if err := a.api(t).Write(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	e := a.events[0]
	if want := (corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: "worker-1", UID: "worker-1"}); e.InvolvedObject != want || e.Namespace != "default" {
		t.Errorf("it is about %+v, in %q", e.InvolvedObject, e.Namespace)
	}
}
