package notices

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// text is a file with a licence, or with what a licence asks to be passed on.
type text struct {
	// file is its path within the module, with slashes.
	file    string
	content string
	// licence is false for what is passed on beside it: a NOTICE, or a grant of patents.
	licence bool
}

// named are the names of such files, in any case: LICENSE, LICENSE-APACHE.txt, COPYING, NOTICE.
var named = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense|notice|patents)([-._].*)?$`)

// beside are those of them that are no licences.
var beside = regexp.MustCompile(`(?i)^(notice|patents)`)

// source is a Go file that is called so: license.go.
var source = regexp.MustCompile(`(?i)\.(go|s|c|h|py|sh|tmpl|ya?ml|json)$`)

// textsOf reads the texts that hold for the packages of a module: those in the directory of each, and in all above it up to the module's.
func textsOf(m module) ([]text, error) {
	dirs := map[string]bool{}
	for _, dir := range m.packages {
		for ; ; dir = filepath.Dir(dir) {
			inside, err := filepath.Rel(m.root, dir)
			if err != nil || !filepath.IsLocal(inside) {
				return nil, fmt.Errorf("%s is not below %s", dir, m.root)
			}
			dirs[inside] = true
			if inside == "." {
				break
			}
		}
	}
	var all []text
	for dir := range dirs {
		found, err := textsIn(m.root, dir)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b text) int { return strings.Compare(a.file, b.file) })
	if !slices.ContainsFunc(all, func(t text) bool { return t.licence }) {
		return nil, errors.New("there is no file with a licence")
	}
	return all, nil
}

// textsIn reads those of one directory below the module's.
func textsIn(root, dir string) ([]text, error) {
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		return nil, err
	}
	var all []text
	for _, e := range entries {
		if e.IsDir() || !named.MatchString(e.Name()) || source.MatchString(e.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, dir, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, text{
			file:    filepath.ToSlash(filepath.Join(dir, e.Name())),
			content: strings.TrimSpace(strings.ReplaceAll(string(content), "\r\n", "\n")),
			licence: !beside.MatchString(e.Name()),
		})
	}
	return all, nil
}
