package docs

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

var update = flag.Bool("update", false, "write the pages that are generated instead of comparing them")

const referencePage = "annotations.md"

// TestAnnotationReferenceIsGenerated compares the page with the table that the reader works from. After a change of the
// table: go test ./docs -run Annotation -update.
func TestAnnotationReferenceIsGenerated(t *testing.T) {
	want := reference()
	if *update {
		if err := os.WriteFile(referencePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := pages(t)[referencePage]; got != want {
		t.Errorf("%s differs from the table in pkg/cloud/settings; run: go test ./docs -run Annotation -update", referencePage)
	}
}

// TestNoPageNamesAnUnknownAnnotation finds annotations that examples and guides use but that are not in the table.
func TestNoPageNamesAnUnknownAnnotation(t *testing.T) {
	name := regexp.MustCompile(regexp.QuoteMeta(settings.Prefix) + "[a-z0-9-]+")
	found := 0
	for page, content := range pages(t) {
		for _, key := range name.FindAllString(content, -1) {
			found++
			if _, ok := settings.Lookup(settings.Key(key)); !ok {
				t.Errorf("%s names %s, which is not in the table", page, key)
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d annotations were found", found)
	}
}

const referenceHead = `<!-- Generated from pkg/cloud/settings by: go test ./docs -run Annotation -update -->
# Annotations of load balancers

All names begin with ` + "`" + settings.Prefix + "`" + `. [Load balancers](load-balancers.md) shows how to use them.

An empty value is the same as none, except for ` + "`label`" + `. White space around a value does not matter, nor does case
where there is a choice. Every fault of a Service is reported at once, in one Event; while there is one, the load balancer
keeps its settings and still follows the nodes. Settings marked with * read a malformed value as the default, like the
official controller, and a Warning event says so. If such a value may have asked for protection, no new load balancer is
created.

`

const referenceFoot = `
## Misspelled and unknown annotations

Whatever is not in the tables has no effect, and a Warning event names it, with the right name if it looks like a slip. If
it seems to restrict access or to ask for encryption, no new load balancer is created for the Service, because it would be
more open than asked for: names that resemble a protecting setting, names with words such as *internal*, *private*,
*allow*, *deny*, *acl*, *source* or *tls*, and the annotations by which other clouds make a load balancer internal. A value
that says no (false, off, no, 0) asks for nothing. A load balancer that exists goes on serving, and keeps the firewall
rules, the certificate or the redirect that a misspelled name was about.
`

// reference renders the page.
func reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("| annotation | values | default | what it does | protects | cluster default | since |\n|---|---|---|---|---|---|---|\n")
	for _, s := range settings.All() {
		if s.Support == settings.Supported {
			fmt.Fprintf(&b, "| `%s` | %s%s | %s | %s | %s | %s | %s |\n", s.Name(), allowed(s), mark(s), shownDefault(s), s.Doc, s.Protects, yesNo(!s.NoClusterDefault), s.Since)
		}
	}
	section(&b, "On a Namespace", "Set by administrators. [Who owns a load balancer](load-balancers.md#who-owns-a-load-balancer) says what for.", settings.OnNamespace)
	section(&b, "Without effect", "", settings.Obsolete)
	b.WriteString(referenceFoot)
	return b.String()
}

func section(b *strings.Builder, title, text string, support settings.Support) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if text != "" {
		b.WriteString(text + "\n\n")
	}
	b.WriteString("| annotation | what it is about | protects |\n|---|---|---|\n")
	for _, s := range settings.All() {
		if s.Support == support {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", s.Name(), s.Doc, s.Protects)
		}
	}
}

func allowed(s settings.Setting) string {
	switch s.Kind {
	case settings.Switch:
		return "true, false"
	case settings.Choice:
		return strings.Join(s.Values, ", ")
	case settings.Number:
		odd := ""
		if s.Odd {
			odd = "odd number, "
		}
		return fmt.Sprintf("%s%d to %d", odd, s.Lowest, s.Highest)
	case settings.PortList:
		return "ports: `443,8443`"
	default:
		return s.Format
	}
}

func mark(s settings.Setting) string {
	if s.Lenient {
		return " *"
	}
	return ""
}

func shownDefault(s settings.Setting) string { return cmp.Or(s.Default, s.DefaultText, "none") }

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
