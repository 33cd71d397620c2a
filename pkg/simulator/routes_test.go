package simulator_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

var update = flag.Bool("update", false, "write docs/simulator-api.md again")

const routesPage = "../../docs/simulator-api.md"

// TestRoutesAreDocumented holds the page to the code.
func TestRoutesAreDocumented(t *testing.T) {
	var page strings.Builder
	page.WriteString("# What the simulator answers\n\n" +
		"All routes of the API that [the simulator](simulator.md) knows, with the names that they have in faults, counters and the\n" +
		"request log. Everything else is answered as the platform answers what it does not know: 404 `Not found.` This page is\n" +
		"made from the code: `go test ./pkg/simulator -run RoutesAreDocumented -update`.\n")
	resource := ""
	for _, r := range simulator.Routes() {
		if r.Resource != resource {
			resource = r.Resource
			fmt.Fprintf(&page, "\n## %s\n\n%s\n\n| route | operation | needs a key |\n|---|---|---|\n", resource, lagOf(r.Kind))
		}
		key := "yes"
		if r.Open {
			key = "no"
		}
		fmt.Fprintf(&page, "| `%s %s` | `%s` | %s |\n", r.Method, r.Path, r.Operation, key)
	}
	if *update {
		if err := os.WriteFile(routesPage, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(routesPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != page.String() {
		t.Errorf("%s is not what the code says; run this test with -update", routesPage)
	}
}

// lagOf says how late reads of a kind of objects are.
func lagOf(kind string) string {
	if kind == "" {
		return "Reads are never late."
	}
	return fmt.Sprintf("Reads are %s late, unless `--read-lag` says otherwise of `%s`.", simulator.DefaultReadLag, kind)
}

// Names of operations are what people write into faults, so there is one for each route.
func TestOperationsAreNamedOnce(t *testing.T) {
	seen := map[string]string{}
	for _, r := range simulator.Routes() {
		route := r.Method + " " + r.Path
		if other := seen[r.Operation]; other != "" || r.Operation == "" {
			t.Errorf("%s and %s are both called %q", other, route, r.Operation)
		}
		seen[r.Operation] = route
	}
}

// uuidParts are the parts of paths that are UUIDs.
var uuidParts = []string{"{id}", "{instance}", "{pool}", "{node}", "{record}", "{mark}"}

// pathOf fills in the path of a route: nobody for UUIDs, except x for one of them.
func pathOf(path, malformed string) string {
	fill := []string{"{domain}", "nobody.example", "{ip}", "192.0.2.1", "{rule}", "1"}
	for _, part := range uuidParts {
		id := nobody
		if part == malformed {
			id = "x"
		}
		fill = append(fill, part, id)
	}
	return strings.NewReplacer(fill...).Replace(path)
}

// Every route with an ID demands a key before it says anything of the ID, then UUIDs, then that they exist, and only then
// a body that makes sense.
func TestEveryRouteGuardsItsID(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		for _, r := range simulator.Routes() {
			if r.Open || !strings.Contains(r.Path, "{") {
				continue
			}
			w.key = "wrong"
			w.do(r.Method, pathOf(r.Path, "{id}"), "").refused(401, "Invalid API token.")
			w.key = testKey
			for _, part := range uuidParts {
				if strings.Contains(r.Path, part) {
					w.do(r.Method, pathOf(r.Path, part), "").refused(400, "Invalid UUID format.")
				}
			}
			got := w.do(r.Method, pathOf(r.Path, ""), `{}`).is(404)
			if text, _ := got.at("error").(string); text == "" || text == "Not found." {
				t.Errorf("%s: %s does not say what is missing", got.what, got.raw)
			}
		}
	})
}

// A method that no route has is answered as a path that no route has.
func TestOtherMethodsAreUnknownRoutes(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		known := map[string]bool{}
		for _, r := range simulator.Routes() {
			known[r.Method+" "+pathOf(r.Path, "")] = true
		}
		for _, r := range simulator.Routes() {
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
				path := pathOf(r.Path, "")
				if known[method+" "+path] {
					continue
				}
				// Where another route takes anything in that place, the last word is a bad one of those.
				parent := method + " " + path[:strings.LastIndex(path, "/")+1]
				if known[parent+nobody] || known[parent+"192.0.2.1"] {
					continue
				}
				w.do(method, path, "").refused(404, "Not found.")
			}
		}
	})
}
