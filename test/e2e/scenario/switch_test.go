package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/jsonpath"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

var update = flag.Bool("update", false, "write official/orders.json")

func checkout() *World {
	return &World{Cluster: &cluster.Cluster{Source: filepath.Join("..", "..", "..")}, Namespace: "shop"}
}

// TestSwitchCommands: the documentation has the commands that Switch runs, for the objects that the official manifest has here.
func TestSwitchCommands(t *testing.T) {
	w := checkout()
	commands, err := w.switchCommands()
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := w.officialCCM()
	if err != nil {
		t.Fatal(err)
	}
	kind, name := "", ""
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		if strings.Contains(document, "\nkind: DaemonSet\n") {
			kind, name = "daemonset", regexp.MustCompile(`(?m)^ {2}name: (\S+)$`).FindStringSubmatch(document)[1]
		}
	}
	for what, lines := range map[string][]string{
		commands.forward: {
			"kubectl -n kube-system delete " + kind + " " + name + " --cascade=foreground --wait\n", "kubectl apply -k test/e2e/overlay/ccm\n",
			"kubectl -n kube-system rollout status deployment/" + ccmName + "\n",
		},
		commands.back: {"kubectl -n kube-system delete deployment " + ccmName + " --cascade=foreground --wait\n"},
		commands.handOver: {
			"kubectl annotate namespace " + anyNamespace + " " + loadBalancer + "hand-over=" + anyBalancer + "\n",
		},
	} {
		if what != strings.Join(lines, "") {
			t.Errorf("the page has\n%snot\n%s", what, strings.Join(lines, ""))
		}
	}
	for _, annotation := range []string{"label", "id"} {
		if key := strings.ReplaceAll(loadBalancer, ".", `\.`) + annotation; !strings.Contains(commands.list, key) {
			t.Errorf("the command that lists Services does not show %s:\n%s", key, commands.list)
		}
	}
	if bare := regexp.MustCompile(`(?m)^\s*image: [^/\n]+$`).FindString(manifests); bare != "" {
		t.Errorf("an image was not filled in: %s", bare)
	}
}

// TestListedColumns: the columns of the documented list are what a Service with a label of its own has, and one without it has none in one
// that is not the last, by which the list leaves it out.
func TestListedColumns(t *testing.T) {
	w := checkout()
	commands, err := w.switchCommands()
	if err != nil {
		t.Fatal(err)
	}
	spec := regexp.MustCompile(`-o custom-columns='([^']+)' \| grep -v '<none> '`).FindStringSubmatch(commands.list)
	if spec == nil {
		t.Fatalf("the command has no columns, or what lacks one is listed: %s", commands.list)
	}
	services, err := w.officialServices()
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range services {
		service.Namespace = "shop"
		label := service.Annotations[loadBalancer+"label"]
		want := []string{"NAMESPACE shop", "NAME " + service.Name, strings.TrimSpace("LABEL " + label), "ID some"}
		service.Annotations[loadBalancer+"id"] = "some"
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(service)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for column := range strings.SplitSeq(spec[1], ",") {
			heading, path, _ := strings.Cut(column, ":")
			found := jsonpath.New(heading).AllowMissingKeys(true) // as kubectl does
			var text strings.Builder
			if err := errors.Join(found.Parse("{"+path+"}"), found.Execute(&text, object)); err != nil {
				t.Fatalf("%s: %v", column, err)
			}
			got = append(got, strings.TrimSpace(heading+" "+text.String()))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is listed as %q, not %q", service.Name, got, want)
		}
	}
}

// TestUnderAll: what is done begins when every kind of request was answered, and a single one that fails, of any kind and at any time,
// is told with its kind.
func TestUnderAll(t *testing.T) {
	for _, failing := range []string{"", "first:80", "second:81"} {
		synctest.Test(t, func(t *testing.T) {
			var during atomic.Bool
			var before [2]atomic.Int64
			all := map[string]asks{}
			for i, name := range []string{"first:80", "second:81"} {
				var failed atomic.Bool
				all[name] = func(context.Context) (string, error) {
					if during.Load() && name == failing && failed.CompareAndSwap(false, true) {
						return "", errors.New("refused")
					}
					before[i].Add(1)
					return "pod", nil
				}
			}
			total, err := underAll(t.Context(), all, func(ctx context.Context) error {
				for i := range before {
					if n := before[i].Load(); n < askedBefore {
						t.Errorf("only %d requests before", n)
					}
				}
				during.Store(true)
				return ctx.Err()
			})
			if failing == "" && err != nil || failing != "" && (err == nil || !strings.Contains(err.Error(), failing) || !strings.Contains(err.Error(), "refused")) {
				t.Errorf("%q fails: %v", failing, err)
			}
			if total < 2*(askedBefore+askedAfter) {
				t.Errorf("%d requests", total)
			}
		})
	}
}

// TestSectionsOfAPage: a section has the commands of those below it, and ends with the next one of its rank.
func TestSectionsOfAPage(t *testing.T) {
	w := &World{Cluster: &cluster.Cluster{Source: t.TempDir()}}
	if err := os.Mkdir(filepath.Join(w.Source, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	page := "# Page\n\n## One\n\n```sh\na\n```\n\n### Below\n\n```sh\nb\n```\n\n### Beside\n\n```yaml\nno: command\n```\n\n## Two\n\n```sh\nc\n```\n"
	if err := os.WriteFile(filepath.Join(w.Source, "docs", "page.md"), []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	for section, want := range map[string][]string{"One": {"a\n", "b\n"}, "Below": {"b\n"}, "Beside": nil, "Two": {"c\n"}} {
		got, err := w.documentedCommands("page.md", section)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s has %q, %v, not %q", section, got, err, want)
		}
	}
	if got, err := w.documentedCommands("page.md", "Bel"); err == nil {
		t.Errorf("a part of a heading is one: %q", got)
	}
}

// officialSent is what the official manager sends for a Service.
type officialSent struct {
	Service string        `json:"service"`
	UID     types.UID     `json:"uid"`
	Order   officialOrder `json:"order"`
}

// ordersOf is what the official manager sends for the Services in official/services.yaml, one after the other, in a cluster with two
// instances. The controller's own tests put theirs in the place of the UIDs, instances and the certificate.
func ordersOf(t *testing.T, services []*corev1.Service) []officialSent {
	t.Helper()
	var all []officialSent
	there := map[string][]officialRule{}
	for i, service := range services {
		service.UID = types.UID(fmt.Sprintf("%08d-43b6-4d94-b8f5-1c5c0e0a3c11", i+1))
		var certificate *officialSSL
		if service.Annotations[loadBalancer+"ssl"] != "" {
			certificate = &officialSSL{Key: "KEY", Certificate: "CERTIFICATE"}
		}
		order, err := orderOf(service, []string{"INSTANCE-0", "INSTANCE-1"}, certificate)
		if err != nil {
			t.Fatalf("%s: %v", service.Name, err)
		}
		order = order.beside(there[order.Label])
		if there[order.Label] == nil {
			order.Region = cluster.Region
		}
		there[order.Label] = order.Rules
		all = append(all, officialSent{service.Name, service.UID, order})
	}
	return all
}

// TestOfficialOrders: official/orders.json is what the stand-in sends, so that what the controller's tests show of it, without a
// cluster, is what Switch meets.
func TestOfficialOrders(t *testing.T) {
	w := checkout()
	services, err := w.officialServices()
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.MarshalIndent(ordersOf(t, services), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	file := filepath.Join(w.Source, "test", "e2e", "official", "orders.json")
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil { //nolint:gosec // G306: a file of the repository
			t.Fatal(err)
		}
	}
	got, err := w.officialFile("orders.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("official/orders.json is not what is sent; write it by go test ./scenario -run OfficialOrders -update:\n%s", want)
	}
}

// TestSwitchServices: there is a Service for each thing that Switch shows, and one for every kind of annotation that is promised.
func TestSwitchServices(t *testing.T) {
	services, err := checkout().officialServices()
	if err != nil {
		t.Fatal(err)
	}
	byName, has := map[string]*corev1.Service{}, map[string]bool{}
	nodePorts := map[int32]bool{}
	for _, service := range services {
		byName[service.Name] = service
		for name := range service.Annotations {
			has[strings.TrimPrefix(name, loadBalancer)] = true
		}
		for _, port := range service.Spec.Ports {
			// Those up to 30085 are given out only to those who ask for them.
			if port.NodePort < 30000 || port.NodePort > 30085 || nodePorts[port.NodePort] {
				t.Errorf("the node port %d of %s is another one's, or may be", port.NodePort, service.Name)
			}
			nodePorts[port.NodePort] = true
		}
	}
	for _, want := range []string{
		"backend-protocol", "https-ports", "ssl", "healthcheck-protocol", "healthcheck-path", "algorithm", "sticky-session-enabled", "firewall-rules", "proxy-protocol", "label", "timeout",
	} {
		if !has[want] {
			t.Errorf("no Service has the annotation %s", want)
		}
	}
	label := func(name string) string { return byName[name].Annotations[loadBalancer+"label"] }
	for _, name := range []string{ofUID, ofOwnLabel, overTLS, sharing1st, sharing2nd, withCookie, proxied} {
		if byName[name] == nil {
			t.Fatalf("there is no Service %s", name)
		}
	}
	if label(ofUID) != "" || label(ofOwnLabel) == "" || label(sharing1st) == "" || label(sharing1st) != label(sharing2nd) || label(ofOwnLabel) == label(sharing1st) {
		t.Errorf("the labels are %q, %q, %q and %q", label(ofUID), label(ofOwnLabel), label(sharing1st), label(sharing2nd))
	}
	// A client for each port, and none for those that are left out.
	s := &ccmSwitch{services: services}
	ports := slices.Sorted(maps.Keys(s.requests(checkout(), ofUID, sharing1st)))
	if want := []string{"named:80", "proxied:80", "second:81", "secured:443", "secured:80", "sticky:80"}; !slices.Equal(ports, want) {
		t.Errorf("requests go to %v, not to %v", ports, want)
	}
}

// TestOfficialKnowsItsAnnotations: the stand-in does not pass over what it does not know.
func TestOfficialKnowsItsAnnotations(t *testing.T) {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{loadBalancer + "vpc": "true", "example.com/other": "fine"}},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, NodePort: 30000}}},
	}
	if _, err := orderOf(service, nil, nil); err == nil || !strings.Contains(err.Error(), loadBalancer+"vpc") || strings.Contains(err.Error(), "example.com") {
		t.Errorf("the error is %v", err)
	}
	for _, wrong := range []string{"203.0.113.7,80", "203.0.113.0/24", "203.0.113.0/24,http"} {
		service.Annotations = map[string]string{loadBalancer + "firewall-rules": wrong}
		if _, err := orderOf(service, nil, nil); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
}

// TestWarnings: of what Events say, those count that this project's CCM has made since, in whole seconds, and of the warnings all but
// the one that is documented.
func TestWarnings(t *testing.T) {
	since := time.Date(2026, 11, 30, 8, 0, 0, 700, time.UTC)
	event := func(service, kind, reason, component string, at time.Time) corev1.Event {
		return corev1.Event{
			InvolvedObject: corev1.ObjectReference{Kind: "Service", Name: service}, Type: kind, Reason: reason,
			Source: corev1.EventSource{Component: component}, LastTimestamp: metav1.NewTime(at.Truncate(time.Second)),
		}
	}
	events := []corev1.Event{
		event(ofUID, "Normal", "EnsuredLoadBalancer", ccmComponent, since.Add(time.Minute)),
		event(ofUID, "Warning", "Former", ccmComponent, since.Add(-time.Minute)),
		event(ofUID, "Warning", "FailedToUpdateEndpoint", "endpoint-controller", since),
		event(sharing2nd, "Warning", "LoadBalancerSharedSetting", ccmComponent, since),
	}
	all := saidOf(events, since)
	if len(all) != 2 || all[0].service != sharing2nd || all[1].reason != "EnsuredLoadBalancer" {
		t.Errorf("%+v", all)
	}
	if err := warnings(all); err != nil {
		t.Error(err)
	}
	for _, e := range []corev1.Event{
		event(sharing1st, "Warning", "LoadBalancerSharedSetting", ccmComponent, since), event(sharing2nd, "Warning", "SyncLoadBalancerFailed", ccmComponent, since),
	} {
		if err := warnings(saidOf(append(events, e), since)); err == nil || !strings.Contains(err.Error(), e.Reason) {
			t.Errorf("%s of %s: %v", e.Reason, e.InvolvedObject.Name, err)
		}
	}
}
