// Package docs checks what the documentation shows.
package docs

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"
)

// pages are all documents that users read.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for _, file := range append(files, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md", "../SECURITY.md") {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pages[file] = string(content)
	}
	return pages
}

// TestManifestsAreValid decodes every fenced manifest and refuses unknown fields.
func TestManifestsAreValid(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{admissionv1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, storagev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	fence := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	found := 0
	for page, content := range pages(t) {
		for _, match := range fence.FindAllStringSubmatch(content, -1) {
			for document := range bytes.SplitSeq([]byte(match[1]), []byte("\n---\n")) {
				if bytes.Contains(document, []byte("kind: Kustomization")) {
					continue // kustomize's own; rendered in the tools' tests where it is a file
				}
				found++
				if bytes.Contains(document, []byte("apiVersion: snapshot.storage.k8s.io/")) {
					checkSnapshot(t, page, document)
					continue
				}
				if _, _, err := decoder.Decode(document, nil, nil); err != nil {
					t.Errorf("%s: %v\n%s", page, err, document)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no manifest was found")
	}
}

// checkSnapshot refuses fields that the kinds of the snapshot API do not have. They are no part of Kubernetes' own API.
func checkSnapshot(t *testing.T, page string, document []byte) {
	t.Helper()
	var object struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Namespace string            `json:"namespace"`
			Name      string            `json:"name"`
			Labels    map[string]string `json:"labels"`
		} `json:"metadata"`
		Driver         string `json:"driver"`
		DeletionPolicy string `json:"deletionPolicy"`
		Spec           struct {
			VolumeSnapshotClassName string `json:"volumeSnapshotClassName"`
			Driver                  string `json:"driver"`
			DeletionPolicy          string `json:"deletionPolicy"`
			Source                  struct {
				PersistentVolumeClaimName string `json:"persistentVolumeClaimName"`
				VolumeSnapshotContentName string `json:"volumeSnapshotContentName"`
				SnapshotHandle            string `json:"snapshotHandle"`
			} `json:"source"`
			VolumeSnapshotRef struct {
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			} `json:"volumeSnapshotRef"`
		} `json:"spec"`
	}
	if err := yaml.UnmarshalStrict(document, &object); err != nil {
		t.Errorf("%s: %v\n%s", page, err, document)
	}
	if object.APIVersion != "snapshot.storage.k8s.io/v1" || !strings.HasPrefix(object.Kind, "VolumeSnapshot") {
		t.Errorf("%s: %s %s is not known", page, object.APIVersion, object.Kind)
	}
}

// TestLinksLeadSomewhere follows the links between the documents, to the sections that they name.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	all, sections := pages(t), 0
	for page, content := range all {
		for _, match := range link.FindAllStringSubmatch(withoutCode(content), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			target, section, _ := strings.Cut(match[1], "#")
			path := page
			if target != "" {
				path = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s: %v", page, match[1], err)
				continue
			}
			if section == "" || filepath.Ext(path) != ".md" {
				continue
			}
			sections++
			if !slices.Contains(anchors(read(t, path)), section) {
				t.Errorf("%s links to %s: there is no such section", page, match[1])
			}
		}
	}
	if sections < 150 {
		t.Errorf("only %d links to sections were found", sections)
	}
}

var fenced = regexp.MustCompile("(?ms)^ *```.*?\n *```")

// withoutCode leaves code out.
func withoutCode(page string) string { return fenced.ReplaceAllString(page, "") }

// anchors are the names by which GitHub links to the sections of a page.
func anchors(page string) []string {
	var all []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(withoutCode(page), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading[1])
		all = append(all, name)
	}
	return all
}
