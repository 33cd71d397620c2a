package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const siteConfig = "site/hugo.yaml"

// TestNavigationHasEveryPage: each page of this directory is in the site's navigation once. `make docs-site` refuses anything else, too,
// but is not run by make test.
func TestNavigationHasEveryPage(t *testing.T) {
	var config struct {
		Params struct {
			Navigation []struct {
				Title string   `json:"title"`
				Pages []string `json:"pages"`
			} `json:"navigation"`
		} `json:"params"`
	}
	if err := yaml.Unmarshal([]byte(read(t, siteConfig)), &config); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	listed := map[string]int{}
	for _, group := range config.Params.Navigation {
		if group.Title == "" {
			t.Errorf("%s: the group of %q has no title", siteConfig, group.Pages)
		}
		for _, page := range group.Pages {
			listed[page]++
			if !slices.Contains(files, page) {
				t.Errorf("%s: the navigation has %s, which does not exist", siteConfig, page)
			}
		}
	}
	for _, page := range files {
		if listed[page] != 1 {
			t.Errorf("%s: the navigation has %s %d times", siteConfig, page, listed[page])
		}
	}
}

// TestSiteHasEveryPage: the site takes the pages of this directory, not those below it.
func TestSiteHasEveryPage(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" && filepath.Dir(path) != "." {
			t.Errorf("%s is below docs, where neither the site nor the tests look for pages", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSiteLoadsNothingFromElsewhere: no fonts, scripts or pictures by which others would learn who reads.
func TestSiteLoadsNothingFromElsewhere(t *testing.T) {
	looked := 0
	for _, dir := range []string{"site/layouts", "site/assets"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			looked++
			content, err := os.ReadFile(path)
			for _, address := range []string{"http:", "https:", `"//`, "'//", "(//", "@import"} {
				if strings.Contains(string(content), address) {
					t.Errorf("%s: an address begins with %s", path, address)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if looked < 5 {
		t.Errorf("only %d files were looked at", looked)
	}
}
