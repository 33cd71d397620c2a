package notices

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Of returns the licences of all that is linked into the programs of these packages, beside the main module, as one text. The same modules
// give the same text. A licence that nobody has agreed to, and a module without one, is an error; all of them are reported together.
func Of(ctx context.Context, programs []string) (string, error) {
	modules, err := linked(ctx, programs)
	if err != nil {
		return "", err
	}
	return render(modules)
}

// part is one text, with where it is.
type part struct {
	content string
	files   []string
}

// render judges the licences of the modules and writes them down. Texts that several have are there once.
func render(modules []module) (string, error) {
	var contents strings.Builder
	var parts []part
	var failures []error
	for _, m := range modules {
		name := strings.TrimSpace(m.path + " " + m.version)
		ids, texts, err := read(m)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", name, err))
			continue
		}
		fmt.Fprintf(&contents, "%s: %s\n", name, strings.Join(ids, ", "))
		for _, t := range texts {
			i := slices.IndexFunc(parts, func(p part) bool { return p.content == t.content })
			if i < 0 {
				i, parts = len(parts), append(parts, part{content: t.content})
			}
			parts[i].files = append(parts[i].files, name+": "+t.file)
		}
	}
	if err := errors.Join(failures...); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("This program contains software of others, under these licences. Their texts follow.\n\n")
	b.WriteString(contents.String())
	for _, p := range parts {
		fmt.Fprintf(&b, "\n%s\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(p.files, "\n"), strings.Repeat("-", 80), p.content)
	}
	return b.String(), nil
}

// read returns the texts of a module, and the licences in them.
func read(m module) (ids []string, texts []text, err error) {
	texts, err = textsOf(m)
	if err != nil {
		return nil, nil, err
	}
	var failures []error
	for _, t := range texts {
		if !t.licence {
			continue
		}
		has, err := judge(t)
		failures = append(failures, err)
		for _, id := range has {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, texts, errors.Join(failures...)
}
