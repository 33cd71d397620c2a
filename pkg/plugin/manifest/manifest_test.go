package manifest_test

import (
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/manifest"
)

const file = `# a comment
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  annotations:
    first: "1"

    second: "2"
spec:
  ports:
    - port: 80
    - name: b
      port: 443
--- # the next one

---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Service
    metadata: {name: one}
  - apiVersion: storage.k8s.io/v1
    kind: StorageClass
    metadata:
      name: two
    parameters:
      disk_type: nvme
`

func TestLines(t *testing.T) {
	objects, err := manifest.Parse("web.yaml", []byte(file))
	if err != nil || len(objects) != 3 {
		t.Fatalf("%v, %v", objects, err)
	}
	for i, want := range []string{"Service shop/web", "Service one", "StorageClass two"} {
		if got := objects[i].String(); got != want {
			t.Errorf("object %d is %q, want %q", i, got, want)
		}
	}
	tests := []struct {
		object int
		path   string
		want   int
	}{
		{0, "", 2},
		{0, "metadata annotations first", 8},
		{0, "metadata annotations second", 10},
		{0, "metadata annotations third", 7},
		{0, "spec ports 1 port", 15},
		{0, "spec ports 7 port", 12},
		{0, "status", 2},
		{1, "", 22},
		{1, "metadata name", 24},
		{2, "", 25},
		{2, "parameters disk_type", 30},
	}
	for _, test := range tests {
		if got := objects[test.object].LineOf(strings.Fields(test.path)...); got != test.want {
			t.Errorf("%s %q: line %d, want %d", objects[test.object], test.path, got, test.want)
		}
	}
}

func TestAnchors(t *testing.T) {
	const text = `apiVersion: v1
kind: Service
metadata:
  labels: &common
    app: web
  annotations: *common
`
	objects, err := manifest.Parse("a.yaml", []byte(text))
	if err != nil || len(objects) != 1 {
		t.Fatalf("%v, %v", objects, err)
	}
	if got := objects[0].LineOf("metadata", "annotations", "app"); got != 5 {
		t.Errorf("line %d, want 5", got)
	}
	if !strings.Contains(string(objects[0].JSON), `"annotations":{"app":"web"}`) {
		t.Errorf("got %s", objects[0].JSON)
	}
}

// TestFaults shows that one document that can't be read hides no other.
func TestFaults(t *testing.T) {
	tests := map[string]struct{ text, fault string }{
		"no YAML":              {"a: b: c\n", "bad.yaml:5: "},
		"no object":            {"- 1\n- 2\n", "bad.yaml:5: not a Kubernetes object"},
		"no kind":              {"metadata:\n  name: x\n", "bad.yaml:5: not a Kubernetes object: it has no kind"},
		"a key is there twice": {"kind: Service\nmetadata:\n  annotations:\n    a: \"1\"\n    a: \"2\"\n", "bad.yaml:5: "},
		"a bad item":           {"kind: List\nitems:\n  - kind: Service\n  - name: x\n", "bad.yaml:5: item 2: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			objects, err := manifest.Parse("bad.yaml", []byte("kind: Service\nmetadata:\n  name: good\n---\n"+test.text+"---\nkind: Service\nmetadata:\n  name: last\n"))
			if err == nil || !strings.Contains(err.Error(), test.fault) {
				t.Errorf("error %v, want %q", err, test.fault)
			}
			if len(objects) < 2 || objects[0].Name != "good" || objects[len(objects)-1].Name != "last" {
				t.Errorf("objects %v", objects)
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	for _, text := range []string{"", "---\n", "# nothing\n", "---\n---\n\n"} {
		if objects, err := manifest.Parse("empty.yaml", []byte(text)); len(objects) > 0 || err != nil {
			t.Errorf("%q: %v, %v", text, objects, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(file))
	f.Add([]byte("kind: List\nitems: [{kind: A}, *x]\n"))
	f.Add([]byte("a: &a\n  b: *a\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		objects, _ := manifest.Parse("f", text)
		for _, o := range objects {
			o.LineOf("metadata", "annotations", "x")
		}
	})
}
