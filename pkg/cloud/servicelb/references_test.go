package servicelb

import (
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Secret that changes wakes up the Services that name it, and no others; what is in it is not kept.
func TestSecretWakesItsServices(t *testing.T) {
	var added []key
	r := newReferences(nil, func(k key) { added = append(added, k) })
	name := func(ns, n string) key { return key{Namespace: ns, Name: n} }
	secret := func(ns, n string) reference { return reference{secretKind, ns, n} }
	r.want(name("shop", "a"), secret("shop", "tls"))
	r.want(name("shop", "b"), secret("shop", "other"))
	r.want(name("bank", "c"), secret("bank", "tls"))
	r.changed(secret("shop", "tls"))
	if !slices.Equal(added, []key{name("shop", "a")}) {
		t.Errorf("%v", added)
	}
	r.want(name("shop", "a"))
	r.want(name("shop", "b"), secret("shop", "tls"))
	added = nil
	r.changed(secret("shop", "tls"))
	if !slices.Equal(added, []key{name("shop", "b")}) || len(r.watches) != 2 || len(r.wants) != 2 {
		t.Errorf("%v, %v, %v", added, r.watches, r.wants)
	}
}

// A Service can name several objects, of which each is watched as long as anybody names it. A ConfigMap is no Secret of
// that name.
func TestServiceNamesSeveralObjects(t *testing.T) {
	added := 0
	r := newReferences(nil, func(key) { added++ })
	a, b := key{Namespace: "shop", Name: "a"}, key{Namespace: "shop", Name: "b"}
	secret, rules := reference{secretKind, "shop", "web"}, reference{configMapKind, "shop", "web"}
	r.want(a, secret, rules)
	r.want(b, rules)
	r.changed(secret)
	r.changed(rules)
	if added != 3 || len(r.watches) != 2 {
		t.Errorf("%d keys were added, want 1 for the Secret and 2 for the ConfigMap; watches %v", added, r.watches)
	}
	r.want(a, secret)
	if _, there := r.watches[rules]; !there {
		t.Error("the ConfigMap is not watched any more, though another Service names it")
	}
	r.want(b)
	if _, there := r.watches[rules]; there || len(r.watches) != 1 {
		t.Errorf("watches %v, nobody names the ConfigMap", r.watches)
	}
}

func TestContentIsNotKept(t *testing.T) {
	meta := metav1.ObjectMeta{Name: "tls", ResourceVersion: "7", Annotations: map[string]string{"last-applied": "SECRET"}}
	kept, err := withoutContent(&v1.Secret{ObjectMeta: meta, Data: map[string][]byte{"tls.key": []byte("SECRET")}, StringData: map[string]string{"x": "SECRET"}})
	if secret, ok := kept.(*v1.Secret); !ok || err != nil || len(secret.Data) != 0 || len(secret.StringData) != 0 || len(secret.Annotations) != 0 || secret.ResourceVersion != "7" {
		t.Errorf("%+v, %v", kept, err)
	}
	kept, err = withoutContent(&v1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"x": "y"}, BinaryData: map[string][]byte{"x": []byte("y")}})
	if rules, ok := kept.(*v1.ConfigMap); !ok || err != nil || len(rules.Data) != 0 || len(rules.BinaryData) != 0 || len(rules.Annotations) != 0 || rules.ResourceVersion != "7" {
		t.Errorf("%+v, %v", kept, err)
	}
}
