package servicelb

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// While a load balancer is being made, its address is not read from a list that another one's sync has made a while ago.
func TestListWhileBeingMadeIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for name, tt := range map[string]struct {
			memory *memory
			want   time.Time
		}{
			"at rest":               {&memory{sent: []change{{at: now.Add(-time.Hour)}}}, now.Add(-time.Hour)},
			"never changed":         {&memory{}, time.Time{}},
			"being made":            {&memory{pendingSince: now.Add(-time.Minute), sent: []change{{at: now.Add(-time.Minute)}}}, now.Add(-shortestWait / 2)},
			"being made by another": {&memory{pendingSince: now}, now.Add(-shortestWait / 2)},
			"just changed":          {&memory{pendingSince: now, sent: []change{{at: now}}}, now},
		} {
			s := &scene{memory: tt.memory}
			if got := s.after(); !got.Equal(tt.want) {
				t.Errorf("%s: %s, want %s", name, got, tt.want)
			}
		}
	})
}

// A refusal of the key is good for ten seconds: a question in five would be twice the calls for all the time that it lasts.
func TestRefusalStands(t *testing.T) {
	var r refusal
	now := time.Unix(0, 0)
	refused := &vultr.Error{Op: "list", Status: 401}
	r.learn(refused, now)
	for after, stands := range map[time.Duration]bool{0: true, 9900 * time.Millisecond: true, 10 * time.Second: false} {
		if err := r.standing(now.Add(after)); (err != nil) != stands {
			t.Errorf("after %s: %v", after, err)
		}
	}
	for after, left := range map[time.Duration]time.Duration{0: 10 * time.Second, 9900 * time.Millisecond: 100 * time.Millisecond, 10 * time.Second: 10 * time.Second} {
		if got := r.left(now.Add(after)); got != left {
			t.Errorf("after %s: %s left, want %s", after, got, left)
		}
	}
	r.learn(errors.New("another failure"), now)
	if r.standing(now) == nil {
		t.Error("another failure does not say that the key is right")
	}
	r.learn(nil, now)
	if err := r.standing(now); err != nil {
		t.Error(err)
	}
}

// The watch of a Secret keeps nothing that is secret.
func TestWatchKeepsNoSecret(t *testing.T) {
	r := newReferences(fake.NewSimpleClientset(), func(key) {})
	options := r.options(reference{secretKind, "shop", "tls"})
	if options.Transform == nil {
		t.Fatal("it keeps all")
	}
	kept, err := options.Transform(&v1.Secret{Data: map[string][]byte{"tls.key": []byte("x")}, StringData: map[string]string{"a": "b"}})
	if secret, ok := kept.(*v1.Secret); err != nil || !ok || len(secret.Data)+len(secret.StringData) > 0 {
		t.Errorf("%+v, %v", kept, err)
	}
}

// comeBack keeps the earliest time, and none is later than any.
func TestComeBack(t *testing.T) {
	s := &scene{}
	for _, tt := range []struct{ after, want time.Duration }{{0, 0}, {-1, 0}, {time.Minute, time.Minute}, {time.Hour, time.Minute}, {0, time.Minute}, {time.Second, time.Second}} {
		if s.comeBack(tt.after); s.next != tt.want {
			t.Errorf("%s: %s, want %s", tt.after, s.next, tt.want)
		}
	}
}
