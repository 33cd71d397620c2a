package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// fencedYAML is manifests in a page of the documentation.
var fencedYAML = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// manifests lists the manifests of a page in docs.
func (w *World) manifests(page string) ([]string, error) {
	content, err := os.ReadFile(filepath.Join(w.Source, "docs", page))
	if err != nil {
		return nil, err
	}
	var all []string
	for _, match := range fencedYAML.FindAllStringSubmatch(string(content), -1) {
		all = append(all, strings.Split(match[1], "\n---\n")...)
	}
	return all, nil
}

// head is what tells a manifest from others.
type head struct {
	Kind     string            `json:"kind"`
	Metadata metav1.ObjectMeta `json:"metadata"`
}

// documented reads a manifest from a page in docs, as users do, into an object.
func (w *World) documented(page, kind, name string, into any) error {
	all, err := w.manifests(page)
	if err != nil {
		return err
	}
	for _, manifest := range all {
		var h head
		if err := yaml.Unmarshal([]byte(manifest), &h); err != nil {
			return fmt.Errorf("docs/%s: %w", page, err)
		}
		if h.Kind == kind && h.Metadata.Name == name {
			return yaml.UnmarshalStrict([]byte(manifest), into)
		}
	}
	return fmt.Errorf("docs/%s has no %s %s", page, kind, name)
}

// Documentation has the apiserver judge every manifest of the documentation, without making anything of it.
func Documentation() Step {
	return Step{"the apiserver takes every manifest of the documentation", func(ctx context.Context, w *World) (string, error) {
		pages, err := filepath.Glob(filepath.Join(w.Source, "docs", "*.md"))
		if err != nil {
			return "", err
		}
		taken := 0
		for _, page := range pages {
			n, err := w.judge(ctx, filepath.Base(page))
			if err != nil {
				return "", fmt.Errorf("%s: %w", page, err)
			}
			taken += n
		}
		if taken == 0 {
			return "", errors.New("there are none")
		}
		return fmt.Sprintf("%d of them", taken), nil
	}}
}

// judge has the apiserver judge the manifests of a page, and returns how many there are.
func (w *World) judge(ctx context.Context, page string) (int, error) {
	all, err := w.manifests(page)
	if err != nil {
		return 0, err
	}
	taken := 0
	for _, manifest := range all {
		var h head
		if err := yaml.Unmarshal([]byte(manifest), &h); err != nil {
			return taken, err
		}
		if h.Kind == "Kustomization" {
			continue // is for kustomize alone
		}
		// Each by itself: two of one page may have one name.
		if _, err := w.Kubectl(ctx, manifest, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
			return taken, fmt.Errorf("%s %s: %w", h.Kind, h.Metadata.Name, err)
		}
		taken++
	}
	return taken, nil
}
