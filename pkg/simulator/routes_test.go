package simulator_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

var update = flag.Bool("update", false, "write docs/simulator-api.md anew")

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
			fmt.Fprintf(&page, "\n## %s\n\n| route | operation | needs a key |\n|---|---|---|\n", resource)
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

// Every route with an ID demands a key before it says anything of the ID, then a UUID, then that it exists.
func TestEveryRouteGuardsItsID(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		for _, r := range simulator.Routes() {
			if r.Open || !strings.Contains(r.Path, "{") {
				continue
			}
			fill := func(id string) string {
				return strings.NewReplacer("{id}", id, "{domain}", "nobody.example", "{ip}", "192.0.2.1", "{rule}", "1", "{pool}", nobody,
					"{node}", nobody, "{record}", nobody, "{mark}", nobody, "{rid}", "0123456789abcdef").Replace(r.Path)
			}
			w.key = "wrong"
			w.do(r.Method, fill("x"), "").refused(401, "Invalid API token.")
			w.key = testKey
			if strings.Contains(r.Path, "{id}") {
				w.do(r.Method, fill("x"), "").refused(400, "Invalid UUID format.")
			}
			if got := w.do(r.Method, fill(nobody), `{"type":"daily","backup":"x"}`); got.status != 404 && got.status != 400 {
				t.Errorf("%s of nobody: %d %s", got.what, got.status, got.raw)
			} else if _, ok := got.at("error").(string); !ok {
				t.Errorf("%s: %s is no error of the platform", got.what, got.raw)
			}
		}
	})
}
