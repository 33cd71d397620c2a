package docs

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testdocs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// requestsOf are the requests that each method of the API client makes.
var requestsOf = map[string][]string{
	"Account":                  {"GET /v2/account"},
	"AttachFileSystem":         {"PUT /v2/vfs/{id}/attachments/{id}"},
	"AttachVolume":             {"POST /v2/blocks/{id}/attach"},
	"ChangeFileSystem":         {"GET /v2/vfs/{id}", "PUT /v2/vfs/{id}"},
	"ChangeVolume":             {"PATCH /v2/blocks/{id}"},
	"CreateFileSystem":         {"POST /v2/vfs"},
	"CreateLoadBalancer":       {"POST /v2/load-balancers"},
	"CreateSnapshot":           {"POST /v2/blocks/snapshots"},
	"CreateVolume":             {"POST /v2/blocks"},
	"DeleteAutoSSL":            {"DELETE /v2/load-balancers/{id}/auto_ssl"},
	"DeleteCertificate":        {"DELETE /v2/load-balancers/{id}/ssl"},
	"DeleteFileSystem":         {"DELETE /v2/vfs/{id}"},
	"DeleteLoadBalancer":       {"DELETE /v2/load-balancers/{id}"},
	"DeleteLoadBalancerIf":     {"DELETE /v2/load-balancers/{id}"},
	"DeleteSnapshot":           {"DELETE /v2/blocks/snapshots/{id}"},
	"DeleteVolume":             {"DELETE /v2/blocks/{id}"},
	"DetachFileSystem":         {"DELETE /v2/vfs/{id}/attachments/{id}"},
	"DetachVolume":             {"POST /v2/blocks/{id}/detach"},
	"FileSystem":               {"GET /v2/vfs/{id}"},
	"FileSystemAttachments":    {"GET /v2/vfs/{id}/attachments"},
	"FileSystemListed":         {"GET /v2/vfs", "GET /v2/vfs/{id}"},
	"FileSystemNow":            {"GET /v2/vfs/{id}"},
	"FileSystemRegions":        {"GET /v2/vfs/regions"},
	"FileSystems":              {"GET /v2/vfs"},
	"Instance":                 {"GET /v2/instances/{id}", "GET /v2/bare-metals/{id}", "GET /v2/bare-metals/{id}/vpcs"},
	"Instances":                {"GET /v2/instances", "GET /v2/bare-metals"},
	"LoadBalancer":             {"GET /v2/load-balancers/{id}"},
	"LoadBalancers":            {"GET /v2/load-balancers"},
	"Networks":                 {"GET /v2/instances/{id}/vpcs", "GET /v2/bare-metals/{id}/vpcs"},
	"Regions":                  {"GET /v2/regions"},
	"RelabelFileSystem":        {"PUT /v2/vfs/{id}"},
	"RelabelVolume":            {"PATCH /v2/blocks/{id}"},
	"ResizeFileSystem":         {"GET /v2/vfs/{id}", "PUT /v2/vfs/{id}"},
	"ResizeVolume":             {"PATCH /v2/blocks/{id}"},
	"SetTags":                  {"PATCH /v2/instances/{id}", "PATCH /v2/bare-metals/{id}"},
	"Snapshot":                 {"GET /v2/blocks/snapshots/{id}"},
	"Snapshots":                {"GET /v2/blocks/snapshots"},
	"SnapshotsDescribed":       {"GET /v2/blocks/snapshots"},
	"UpdateLoadBalancer":       {"PATCH /v2/load-balancers/{id}"},
	"Volume":                   {"GET /v2/blocks/{id}"},
	"VolumeExists":             {"PATCH /v2/blocks/{id}"},
	"VolumeListed":             {"GET /v2/blocks", "GET /v2/blocks/{id}"},
	"VolumeNow":                {"GET /v2/blocks", "GET /v2/blocks/{id}"},
	"Volumes":                  {"GET /v2/blocks"},
	"WaitFileSystem":           {"GET /v2/vfs", "GET /v2/vfs/{id}"},
	"WaitFileSystemAttachment": {"GET /v2/vfs/{id}/attachments"},
	"WaitFileSystemListed":     {"GET /v2/vfs", "GET /v2/vfs/{id}"},
	"WaitListed":               {"GET /v2/blocks", "GET /v2/blocks/{id}"},
	"WaitSnapshotListed":       {"GET /v2/blocks/snapshots", "GET /v2/blocks/snapshots/{id}"},
	"WaitVolumeAsOf":           {"GET /v2/blocks", "GET /v2/blocks/{id}"},
}

// callers are those who call the API, by the directories that say which methods they need.
var callers = []struct {
	name string
	dirs []string
}{
	{"CSI controller", []string{"../pkg/driver"}},
	{"CCM", []string{"../pkg/cloud"}},
	{"kubectl vultr", []string{"../pkg/plugin", "../pkg/driver/account"}},
}

// TestPermissionsAreDocumented compares the table of requests with the interfaces by which the products use the API client.
func TestPermissionsAreDocumented(t *testing.T) {
	const command = "go test ./docs -run Permissions"
	simulated, err := os.ReadFile("simulator-api.md")
	if err != nil {
		t.Fatal(err)
	}
	makes := map[string][]string{} // request -> names of callers
	for _, caller := range callers {
		methods := usedMethods(t, caller.dirs)
		if len(methods) < 5 {
			t.Errorf("only %v were found of %s", methods, caller.name)
		}
		for _, method := range methods {
			requests, known := requestsOf[method]
			if !known {
				t.Errorf("%s calls %s, of which the test does not know the requests", caller.name, method)
			}
			for _, request := range requests {
				if !slices.Contains(makes[request], caller.name) {
					makes[request] = append(makes[request], caller.name)
				}
			}
		}
	}
	var table strings.Builder
	table.WriteString("\n| request | action |")
	for _, caller := range callers {
		table.WriteString(" " + caller.name + " |")
	}
	table.WriteString("\n|---|---|" + strings.Repeat("---|", len(callers)) + "\n")
	order := func(a, b string) int { return strings.Compare(pathFirst(a), pathFirst(b)) }
	for _, request := range slices.SortedFunc(maps.Keys(makes), order) {
		// The simulator's page tells the second ID of a path apart from the first.
		row := regexp.MustCompile(`(?m)^\| .` + strings.ReplaceAll(regexp.QuoteMeta(request), `\{id\}`, `\{[a-z]+\}`) + ". \\| .* \\| (yes|no) \\|$").FindSubmatch(simulated)
		if row == nil {
			t.Errorf("the simulator does not answer %s", request)
			continue
		}
		action := "`" + actionOf(request) + "`"
		if string(row[1]) == "no" {
			action = "none, it needs no key"
		}
		fmt.Fprintf(&table, "| `%s` | %s |", request, action)
		for _, caller := range callers {
			mark := ""
			if slices.Contains(makes[request], caller.name) {
				mark = "yes"
			}
			table.WriteString(" " + mark + " |")
		}
		table.WriteString("\n")
	}
	table.WriteString("\n")
	testdocs.CompareSection(t, "security.md", "requests", table.String(), command, *update)
}

// actionOf returns the action of the platform's IAM that by its description is about the request.
func actionOf(request string) string {
	method, path, _ := strings.Cut(request, " ")
	if path == "/v2/account" {
		return "account.billing.Read" // "Get account info and stats"
	}
	kinds := map[string]string{
		"instances": "compute.instance", "bare-metals": "compute.baremetal", "blocks": "storage.block", "vfs": "storage.vfs",
		"load-balancers": "network.loadbalancer", "regions": "none",
	}
	parts := strings.Split(strings.TrimPrefix(path, "/v2/"), "/")
	kind, rest := kinds[parts[0]], parts[1:]
	if len(rest) > 0 && rest[0] == "snapshots" { // which have no kind of their own
		rest = rest[1:]
	}
	one := len(rest) > 0 && rest[0] == "{id}"
	switch {
	case method == http.MethodGet && one:
		return kind + ".Read"
	case method == http.MethodGet:
		return kind + ".List"
	case method == http.MethodPost && !one:
		return kind + ".Create"
	case method == http.MethodDelete && len(rest) == 1:
		return kind + ".Delete"
	default: // a change, or something below the object
		return kind + ".Update"
	}
}

func pathFirst(request string) string {
	method, path, _ := strings.Cut(request, " ")
	return path + " " + method
}

// usedMethods returns the methods of the API client that interfaces in the directories name. Who uses the client declares what it
// calls.
func usedMethods(t *testing.T, dirs []string) []string {
	t.Helper()
	client, ctx := reflect.TypeFor[*vultr.Client](), reflect.TypeFor[context.Context]()
	used := map[string]bool{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/internal/test") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(node ast.Node) bool {
				asked, ok := node.(*ast.InterfaceType)
				if !ok {
					return true
				}
				for _, method := range asked.Methods.List {
					for _, name := range method.Names {
						of, has := client.MethodByName(name.Name)
						if has && of.Type.NumIn() > 1 && of.Type.In(1) == ctx {
							used[name.Name] = true
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// TestRequestsOfTheClient calls each method and sees what it asks for.
func TestRequestsOfTheClient(t *testing.T) {
	seen := map[string]bool{}
	for method, want := range requestsOf {
		for _, made := range requestsMade(t, method) {
			seen[made] = true
			if !slices.Contains(want, made) {
				t.Errorf("%s makes the request %s", method, made)
			}
		}
	}
	for method, want := range requestsOf {
		for _, request := range want {
			if !seen[request] {
				t.Errorf("nothing makes the request %s, of %s", request, method)
			}
		}
	}
}

// nobody is the ID of nothing.
const nobody = "5f0b3a1c-8b9e-4c57-9d2f-0c6f2f6f9a10"

var anID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// requestsMade calls a method of a new client for each kind of server, about nothing that exists, and returns its requests.
func requestsMade(t *testing.T, method string) []string {
	t.Helper()
	made := &requests{}
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.Start(t, simtest.Options{Bubble: true})
		for _, kind := range []vultr.InstanceKind{vultr.KindVM, vultr.KindBareMetal} {
			client, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key, DialContext: cloud.Dial, Around: made.around})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // of the fake clock, for what waits
			call := reflect.ValueOf(client).MethodByName(method)
			arguments := []reflect.Value{reflect.ValueOf(ctx)}
			for i := 1; i < call.Type().NumIn(); i++ {
				if call.Type().IsVariadic() && i == call.Type().NumIn()-1 {
					break
				}
				arguments = append(arguments, argument(call.Type().In(i), kind))
			}
			call.Call(arguments)
			cancel()
		}
	})
	if len(made.all) == 0 {
		t.Errorf("%s makes no request", method)
	}
	return made.all
}

// argument is something of the type that the client does not refuse by itself.
func argument(of reflect.Type, kind vultr.InstanceKind) reflect.Value {
	switch of.Kind() {
	case reflect.String:
		return reflect.ValueOf(nobody).Convert(of)
	case reflect.Func:
		return reflect.MakeFunc(of, func([]reflect.Value) []reflect.Value {
			return []reflect.Value{reflect.ValueOf(true), reflect.Zero(of.Out(1))} // what is waited for is there
		})
	case reflect.Struct:
		if of == reflect.TypeFor[vultr.Instance]() {
			return reflect.ValueOf(vultr.Instance{ID: nobody, Kind: kind})
		}
	default:
	}
	return reflect.Zero(of)
}

// requests collects what a client asks for.
type requests struct {
	mu  sync.Mutex
	all []string
}

func (r *requests) around(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		r.mu.Lock()
		r.all = append(r.all, request.Method+" "+anID.ReplaceAllString(request.URL.Path, "{id}"))
		r.mu.Unlock()
		return next.RoundTrip(request)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
