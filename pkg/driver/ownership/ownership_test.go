package ownership

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for id, valid := range map[Cluster]bool{
		"": true, "a": true, "prod-1": true, "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8": true, Cluster(strings.Repeat("a", 63)): true,
		Cluster(strings.Repeat("a", 64)): false, "-a": false, "a-": false, "A": false, "a/b": false, "a b": false, "ä": false, "a.b": false, "a\n": false,
	} {
		if err := id.Validate(); (err == nil) != valid {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestLabels: a cluster knows its own labels and those without an ID, and never another cluster's.
func TestLabels(t *testing.T) {
	const one, two, none Cluster = "one", "two", ""
	for _, c := range []struct {
		cluster        Cluster
		label          string
		has, owns      bool
		nameOfTheirOwn string
	}{
		{one, "one/pvc-1", true, true, "pvc-1"},
		{one, "pvc-1", true, false, "pvc-1"},
		{one, "two/pvc-1", false, false, "two/pvc-1"},
		{one, "one/pvc-2", false, true, "pvc-2"},
		{one, "onepvc-1", false, false, "onepvc-1"},
		{one, "one/one/pvc-1", false, true, "one/pvc-1"},
		{two, "one/pvc-1", false, false, "one/pvc-1"},
		{none, "pvc-1", true, false, "pvc-1"},
		{none, "one/pvc-1", false, false, "one/pvc-1"},
		{none, "/pvc-1", false, false, "/pvc-1"},
	} {
		if got := c.cluster.Has(c.label, "pvc-1"); got != c.has {
			t.Errorf("%q has %q as pvc-1: %t", c.cluster, c.label, got)
		}
		if got := c.cluster.Owns(c.label); got != c.owns {
			t.Errorf("%q owns %q: %t", c.cluster, c.label, got)
		}
		if got := c.cluster.Name(c.label); got != c.nameOfTheirOwn {
			t.Errorf("%q calls %q %q", c.cluster, c.label, got)
		}
	}
}

// FuzzLabels: what a cluster made it finds again, and no other cluster with an ID does.
func FuzzLabels(f *testing.F) {
	f.Add("one", "two", "pvc-1")
	f.Add("one", "one-1", "/")
	f.Add("a", "", "a/b")
	f.Fuzz(func(t *testing.T, id, other, name string) {
		c, o := Cluster(id), Cluster(other)
		if c.Validate() != nil || o.Validate() != nil {
			return
		}
		label := c.Label(name)
		if Bare(label) != label || Bare(name) != name {
			return
		}
		if !c.Has(label, name) || c.Name(label) != name && c != "" || c.Owns(label) != (c != "") {
			t.Errorf("%q does not know its own %q", id, label)
		}
		if c != "" && o != "" && c != o && (o.Owns(label) || o.Label(name) == label) {
			t.Errorf("%q takes %q of %q for its own", other, label, id)
		}
	})
}

// TestNotes: a note does not hide whose a volume is, and nothing but a claim's label has one.
func TestNotes(t *testing.T) {
	const name = "pvc-0f3c9c0e-9f5c-4b3e-8a53-4a6b1c8f0d11"
	for _, bare := range []string{name, "one/" + name} {
		label := WithNote(bare, "team a")
		if label != bare+" (team a)" || Bare(label) != bare || Bare(bare) != bare || !IsClaims(bare) || IsClaims(label) {
			t.Errorf("%q is %q with a note", bare, label)
		}
		if !Cluster("one").Has(label, name) || Cluster("one").Name(label) != name || Cluster("one").Owns(label) != (bare != name) {
			t.Errorf("%q is not known", label)
		}
		if Cluster("two").Has(label, name) != (bare == name) {
			t.Errorf("%q is mistaken", label)
		}
	}
	for _, label := range []string{"data (old)", name + " (", name + "(x)", name + "-1 (x)", "pvc-1 (x)", "a/b/" + name + " (x)", name + " (x) y"} {
		if got := Bare(label); got != label {
			t.Errorf("%q is taken for %q with a note", label, got)
		}
	}
}
