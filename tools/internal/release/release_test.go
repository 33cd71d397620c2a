package release

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/tools/internal/archive"
)

const (
	one = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	two = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	six = "sha256:6666666666666666666666666666666666666666666666666666666666666666"
)

var images = []Image{{"cloud-provider-vultr/ccm", one}, {"cloud-provider-vultr/csi-controller", two}, {"cloud-provider-vultr/csi-node", six}}

// joined writes the archive of an image for two architectures.
func joined(t *testing.T, image, content string) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, arch := range []string{"amd64", "arm64"} {
		parts = append(parts, filepath.Join(dir, arch+".tar"))
		spec := archive.Spec{Name: image, Architecture: arch, Files: []archive.File{{Source: program, Target: "/program"}}, Entrypoint: []string{"/program"}}
		if err := archive.Write(spec, parts[len(parts)-1]); err != nil {
			t.Fatal(err)
		}
	}
	output := filepath.Join(dir, "image.oci.tar")
	if err := archive.WriteIndex(parts, output); err != nil {
		t.Fatal(err)
	}
	return output
}

// TestReadImages: the name is without the tag, and another content is another digest.
func TestReadImages(t *testing.T) {
	a, b := joined(t, "cloud-provider-vultr/ccm:v1", "a"), joined(t, "registry.example.com/cloud-provider-vultr/csi-node:v1", "b")
	got, err := ReadImages([]string{a, b})
	if err != nil {
		t.Fatal(err)
	}
	digest := regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	if len(got) != 2 || got[0].Name != "cloud-provider-vultr/ccm" || got[1].Name != "cloud-provider-vultr/csi-node" ||
		!digest.MatchString(got[0].Digest) || !digest.MatchString(got[1].Digest) || got[0].Digest == got[1].Digest {
		t.Errorf("got %v", got)
	}
	again, err := ReadImages([]string{joined(t, "cloud-provider-vultr/ccm:v1", "a")})
	if err != nil || again[0].Digest != got[0].Digest {
		t.Errorf("built again it is %v, %v; it was %v", again, err, got[0])
	}
	if _, err := ReadImages([]string{a, a}); err == nil {
		t.Error("two archives of one image are taken")
	}
	for name, content := range map[string]string{"no tar": "x", "nothing": ""} {
		file := filepath.Join(t.TempDir(), "x.oci.tar")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadImages([]string{file}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPin(t *testing.T) {
	const manifest = `spec:
  containers:
    - name: vultr-ccm
      image: cloud-provider-vultr/ccm:v0.1.0
      args: [--image=cloud-provider-vultr/ccm:v0.1.0]
    - image: cloud-provider-vultr/csi-node:v0.1.0
      name: csi-node
    - image: registry.k8s.io/sig-storage/csi-provisioner:v6.4.0
`
	got, err := Pin(manifest, images, "registry.example.com/vultr/")
	want := strings.NewReplacer(
		"image: cloud-provider-vultr/ccm:v0.1.0\n", "image: registry.example.com/vultr/ccm@"+one+"\n",
		"image: cloud-provider-vultr/csi-node:v0.1.0", "image: registry.example.com/vultr/csi-node@"+six,
	).Replace(manifest)
	if err != nil || got != want {
		t.Errorf("got\n%s%v, want\n%s", got, err, want)
	}
	if got, err = Pin(manifest, images, ""); err != nil || !strings.Contains(got, "image: cloud-provider-vultr/ccm@"+one) {
		t.Errorf("without a registry: %s%v", got, err)
	}
	if _, err := Pin(manifest, images[:1], ""); err == nil || !strings.Contains(err.Error(), "cloud-provider-vultr/csi-node") {
		t.Errorf("an image without a digest: %v", err)
	}
}

// TestPinValues: the chart's own values, and nothing of them is changed but the images.
func TestPinValues(t *testing.T) {
	content, err := os.ReadFile("../../../deploy/chart/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := PinValues(string(content), images, "registry.example.com/vultr")
	if err != nil {
		t.Fatal(err)
	}
	var before, after map[string]any
	for text, into := range map[string]*map[string]any{string(content): &before, pinned: &after} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string][2]string{
		"ccm": {"registry.example.com/vultr/ccm", one}, "csi.controller": {"registry.example.com/vultr/csi-controller", two},
		"csi.node": {"registry.example.com/vultr/csi-node", six},
	} {
		was, is := imageAt(t, before, path), imageAt(t, after, path)
		if is["repository"] != want[0] || is["digest"] != want[1] {
			t.Errorf("%s: %v", path, is)
		}
		is["repository"], is["digest"] = was["repository"], was["digest"]
	}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("something else has changed:\n%s", pinned)
	}
	for line := range strings.Lines(string(content)) {
		if comment := strings.TrimSpace(line); strings.HasPrefix(comment, "#") && !strings.Contains(pinned, comment+"\n") {
			t.Errorf("the comment %q is gone", comment)
		}
	}
	if _, err := PinValues(string(content), images[:2], ""); err == nil {
		t.Error("an image without a digest is taken")
	}
	if _, err := PinValues("ccm: {}\n", images, ""); err == nil || !strings.Contains(err.Error(), "there is no value ccm.image") {
		t.Errorf("of other values: %v", err)
	}
}

// imageAt returns the image below a path of values.
func imageAt(t *testing.T, values map[string]any, path string) map[string]any {
	t.Helper()
	for _, key := range append(strings.Split(path, "."), "image") {
		below, is := values[key].(map[string]any)
		if !is {
			t.Fatalf("%s has no %s", path, key)
		}
		values = below
	}
	return values
}

func TestValues(t *testing.T) {
	text, err := Values(images, "registry.example.com/vultr")
	if err != nil {
		t.Fatal(err)
	}
	type image struct {
		Repository, Digest string
	}
	var got struct {
		CCM struct{ Image image }
		CSI struct {
			Controller struct{ Image image }
			Node       struct{ Image image }
		}
	}
	if err := yaml.UnmarshalStrict([]byte(text), &got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	const at = "registry.example.com/vultr/"
	if got.CCM.Image != (image{at + "ccm", one}) || got.CSI.Controller.Image != (image{at + "csi-controller", two}) || got.CSI.Node.Image != (image{at + "csi-node", six}) {
		t.Errorf("got %+v of\n%s", got, text)
	}
	if _, err := Values(images[1:], ""); err == nil {
		t.Error("an image without a digest is taken")
	}
}

// TestSums: every file but the one that has the sums, in an order that does not change.
func TestSums(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"b": "", "a/c": "abc", "SHA256SUMS": "x"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a/c\n" +
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b\n"
	if got, err := Sums(dir, "SHA256SUMS"); err != nil || got != want {
		t.Errorf("got\n%s%v, want\n%s", got, err, want)
	}
}
