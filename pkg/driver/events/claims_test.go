package events

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestEventAboutAVolume: a warning of which only the volume is known is an Event on its claim. Many need one list, and one
// about a volume that no claim has is not written.
func TestEventAboutAVolume(t *testing.T) {
	lists, fails := 0, false
	claims := &listing(t, func(w http.ResponseWriter, _ *http.Request) {
		if lists++; fails {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		claim := func(name string) *corev1.ObjectReference {
			return &corev1.ObjectReference{Namespace: "shop", Name: name, UID: types.UID("of " + name)}
		}
		one, other := volumeOf("block.csi.vultr.com", "ONE"), volumeOf("other.driver", "three")
		one.Spec.ClaimRef, other.Spec.ClaimRef = claim("data"), claim("other")
		list := corev1.PersistentVolumeList{Items: []corev1.PersistentVolume{one, volumeOf("block.csi.vultr.com", "two"), other, {}}}
		if err := json.NewEncoder(w).Encode(list); err != nil {
			t.Error(err)
		}
	}).claims
	for range 2 {
		if got, err := claims.of(t.Context(), "one"); err != nil || got != (Claim{Namespace: "shop", Name: "data", UID: "of data"}) {
			t.Errorf("got %+v, %v", got, err)
		}
		for _, handle := range []string{"two", "three", "four"} {
			if got, err := claims.of(t.Context(), handle); !errors.Is(err, errRefused) {
				t.Errorf("volume %s is of %+v, %v", handle, got, err)
			}
		}
	}
	if lists != 1 {
		t.Errorf("it took %d lists", lists)
	}
	claims.listed = claims.listed.Add(-claimsFor)
	fails = true
	if _, err := claims.of(t.Context(), "one"); err == nil || errors.Is(err, errRefused) || !strings.Contains(err.Error(), "500") {
		t.Errorf("when nobody knows: %v", err)
	}
}

// TestWriteAboutAVolume: the Event is the claim's.
func TestWriteAboutAVolume(t *testing.T) {
	a := newAPIServer(t)
	api := a.api(t)
	whose := aWarning().Claim
	api.claims.byVolume = map[string]Claim{"one": whose}
	api.claims.listed = api.claims.listed.AddDate(9999, 0, 0)
	w := aWarning()
	w.Claim = Claim{Volume: "One"}
	if !w.Claim.Known() {
		t.Error("no Event can be written about it")
	}
	if err := api.Write(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if e := a.events[0]; e.InvolvedObject.Name != whose.Name || string(e.InvolvedObject.UID) != whose.UID || e.Namespace != whose.Namespace {
		t.Errorf("it is about %+v", e.InvolvedObject)
	}
	w.Claim.Volume = "two"
	if err := api.Write(t.Context(), w); !errors.Is(err, errRefused) || len(a.events) != 1 {
		t.Errorf("got %v, %d Events", err, len(a.events))
	}
}
