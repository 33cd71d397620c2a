package servicelb_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	servicehelper "k8s.io/cloud-provider/service/helpers"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// official is where the end-to-end test of the migration has what users of the official controller have, and what that sends for it.
const official = "../../../test/e2e/official"

// migrant is a Service of a user of the official controller, with what that sends for it.
type migrant struct {
	service *v1.Service
	order   map[string]any
	before  vultr.LoadBalancer // as the official controller leaves it
}

// migrants adds Services of the official controller's users, in their order, and does what that does for them.
func (w *world) migrants() []*migrant {
	w.Helper()
	var all []*migrant
	secret := certificate(w.T, time.Now().Add(1000*time.Hour))
	secret.Name = "secured"
	w.putSecret(secret)
	for _, m := range w.officialOrders(secret) {
		m.service.Namespace, m.service.CreationTimestamp = "shop", metav1.NewTime(time.Now())
		m.service.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer}
		id := ""
		for _, elder := range all {
			if elder.order["label"] == m.order["label"] {
				id = elder.before.ID
			}
		}
		if id == "" {
			id = w.send(http.MethodPost, "/v2/load-balancers", m.order)
		}
		w.shows(id, "is active", func(lb vultr.LoadBalancer) bool { return lb.Active() && lb.IPv4 != "" })
		m.before = w.truth(id)
		m.service.Annotations[string(settings.ID)] = id
		m.service.Status.LoadBalancer = w.officialStatus(m)
		w.add(m.service)
		w.runs(m.service, readyOn("node-0"), readyOn("node-1"))
		all = append(all, m)
	}
	w.officialSends(all)
	return all
}

// officialSends has the official controller send all that it knows to each load balancer, as when it starts.
func (w *world) officialSends(all []*migrant) {
	w.Helper()
	for _, m := range all {
		order := maps.Clone(m.order)
		delete(order, "region")
		for _, other := range all {
			if other.before.ID == m.before.ID && len(other.order["forwarding_rules"].([]any)) > len(order["forwarding_rules"].([]any)) {
				order["forwarding_rules"] = other.order["forwarding_rules"] // to which it adds its own
			}
		}
		w.send(http.MethodPatch, "/v2/load-balancers/"+m.before.ID, order)
		w.edit(m.service, func(s *v1.Service) { s.Status.LoadBalancer = w.officialStatus(m) })
	}
	for _, m := range all {
		m.before = w.truth(m.before.ID)
	}
}

// officialStatus is one entry with the address and the label.
func (*world) officialStatus(m *migrant) v1.LoadBalancerStatus {
	return v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{IP: m.before.IPv4, Hostname: m.before.Label}}}
}

// officialOrders reads the Services, and what the official controller sends for them in this cloud.
func (w *world) officialOrders(secret *v1.Secret) []*migrant {
	w.Helper()
	text := func(key string) string {
		quoted, err := json.Marshal(strings.TrimSpace(string(secret.Data[key])))
		if err != nil {
			w.Fatal(err)
		}
		return string(quoted)
	}
	fill := strings.NewReplacer("INSTANCE-0", w.ids[0], "INSTANCE-1", w.ids[1], `"KEY"`, text(v1.TLSPrivateKeyKey), `"CERTIFICATE"`, text(v1.TLSCertKey))
	var sent []struct {
		Service string         `json:"service"`
		UID     types.UID      `json:"uid"`
		Order   map[string]any `json:"order"`
	}
	if err := json.Unmarshal([]byte(fill.Replace(string(w.file("orders.json")))), &sent); err != nil {
		w.Fatal(err)
	}
	var all []*migrant
	for document := range bytes.SplitSeq(w.file("services.yaml"), []byte("\n---\n")) {
		m := &migrant{service: &v1.Service{}}
		if err := yaml.UnmarshalStrict(document, m.service); err != nil {
			w.Fatal(err)
		}
		if len(sent) == len(all) || sent[len(all)].Service != m.service.Name {
			w.Fatalf("orders.json does not have the Services of services.yaml in their order: %s", m.service.Name)
		}
		m.service.UID, m.order = sent[len(all)].UID, sent[len(all)].Order
		all = append(all, m)
	}
	return all
}

// named returns the one with that name.
func named(all []*migrant, name string) *migrant {
	return all[slices.IndexFunc(all, func(m *migrant) bool { return m.service.Name == name })]
}

func (w *world) file(name string) []byte {
	w.Helper()
	content, err := os.ReadFile(filepath.Join(official, name))
	if err != nil {
		w.Fatal(err)
	}
	return content
}

// send is a request that the official controller sends to the platform. It returns the ID of a load balancer that was made.
func (w *world) send(method, path string, body map[string]any) string {
	w.Helper()
	sent, err := json.Marshal(body)
	if err != nil {
		w.Fatal(err)
	}
	request, err := http.NewRequestWithContext(w.Context(), method, w.cloud.URL+path, bytes.NewReader(sent))
	if err != nil {
		w.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+w.cloud.Key)
	request.Header.Set("Content-Type", "application/json")
	answer, err := (&http.Transport{DialContext: w.cloud.Dial, DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		w.Fatal(err)
	}
	content, err := io.ReadAll(answer.Body)
	if closeErr := answer.Body.Close(); err != nil || closeErr != nil || answer.StatusCode/100 != 2 {
		w.Fatalf("%s %s: %s %s %v", method, path, answer.Status, content, err)
	}
	var made struct {
		Balancer struct{ ID string } `json:"load_balancer"`
	}
	if len(content) > 0 {
		if err := json.Unmarshal(content, &made); err != nil {
			w.Fatal(err)
		}
	}
	return made.Balancer.ID
}

// about returns the Events with a text that are about a load balancer, by its ID in them.
func about(events []string, reason, id string) []string {
	return slices.DeleteFunc(slices.Clone(events), func(e string) bool { return !strings.Contains(e, " "+reason+" ") || !strings.Contains(e, id) })
}

// changedSince returns the load balancers that were changed by requests after the first n, sorted.
func (w *world) changedSince(n int) []string {
	w.Helper()
	var changed []string
	for _, r := range w.cloud.Requests()[n:] {
		if r.Operation == "update_load_balancer" {
			changed = append(changed, strings.TrimPrefix(r.Path, "/v2/load-balancers/"))
		}
	}
	slices.Sort(changed)
	return changed
}

// What the end-to-end test of the migration has in a cluster: every load balancer of the official controller is taken over, none is
// made, deleted or given another address; what changes at one that was found by a label of its own is told before; and what the
// official controller does as its users have asked for is not touched. The same when the cluster goes back to it for a while: then
// nothing is told, because all are known.
func TestMigratedServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		all := w.migrants()
		posts := w.posts()
		// The certificate is sent once more, because the platform does not show which one it has.
		want := []string{named(all, "named").before.ID, named(all, "first").before.ID, named(all, "secured").before.ID}
		for _, tells := range []int{1, 0} {
			requests := len(w.cloud.Requests())
			w.start()
			w.later(2 * time.Minute)
			events := w.events()
			w.toldOf(events, all, tells)
			for _, m := range all {
				w.sameAs(m)
			}
			if w.posts() != posts || w.cloud.Count("delete_load_balancer") != 0 {
				t.Errorf("%d were made, %d deleted", w.posts()-posts, w.cloud.Count("delete_load_balancer"))
			}
			slices.Sort(want)
			if changed := w.changedSince(requests); !slices.Equal(changed, want) {
				t.Errorf("changed were %v, not %v; events %q", changed, want, events)
			}
			w.stop()
			w.officialSends(all)
			// It is known by now which certificate was sent, and the same one was sent since.
			want = []string{named(all, "named").before.ID, named(all, "first").before.ID}
		}
	})
}

// toldOf checks what Events say when the load balancers of official users have been taken over: how often it was told that one is, and
// what changes.
func (w *world) toldOf(events []string, all []*migrant, tells int) {
	w.Helper()
	ensured := 0
	for _, m := range all {
		for _, reason := range []string{"LoadBalancerAdopted", "LoadBalancerWouldChange"} {
			want := 0
			if label := m.service.Annotations[string(settings.Label)]; label != "" {
				want = tells
			}
			if got := about(events, reason, m.before.ID); len(got) != want {
				w.Errorf("%s of %s: %q", reason, m.service.Name, got)
			}
		}
	}
	for _, text := range []string{
		"firewall_rules: is none, is to be 0.0.0.0/0 to 80", "health_check: is tcp 30020", "/healthz", // of the one
		"balancing_algorithm: is leastconn, is to be roundrobin", "health_check: is tcp 30051", // of the two
		"The Service shares load balancer " + named(all, "first").before.ID + " with Service shop/first",
	} {
		if has(events, text) != (tells > 0) {
			w.Errorf("whether an Event says %q: %t: %q", text, tells == 0, events)
		}
	}
	for _, e := range events {
		if strings.Contains(e, " EnsuredLoadBalancer ") {
			ensured++
		}
	}
	if ensured < len(all) { // who shares is told more than once while it waits what would change
		w.Errorf("%d of %d Services are dealt with: %q", ensured, len(all), events)
	}
	w.warnsOfNothing(events)
}

// warnsOfNothing finds fault with every warning, but that the younger one of those that share does not get all that it states.
func (w *world) warnsOfNothing(events []string) {
	w.Helper()
	for _, e := range events {
		if strings.HasPrefix(e, v1.EventTypeWarning) && !strings.Contains(e, " LoadBalancerSharedSetting ") {
			w.Errorf("an Event warns: %s", e)
		}
	}
}

// sameAs checks that what clients of a load balancer notice is as the official controller left it: address, ports, certificate, cookie,
// the PROXY protocol, whose firewall rules its Service states, and the backends. The Service names it as before.
func (w *world) sameAs(m *migrant) {
	w.Helper()
	of := func(lb vultr.LoadBalancer) string {
		return fmt.Sprint(lb.ID, lb.IPv4, leads(lb), lb.HasSSL, lb.StickyCookie, lb.ProxyProtocol, lb.Label, lb.Nodes, lb.Timeout, lb.Instances)
	}
	now, service := w.truth(m.before.ID), w.fresh(m.service)
	if of(now) != of(m.before) {
		w.Errorf("%s: %+v, was %+v", m.service.Name, now, m.before)
	}
	if m.service.Name == "sticky" && !slices.Equal(now.Firewall, m.before.Firewall) {
		w.Errorf("%s: %+v, was %+v", m.service.Name, now.Firewall, m.before.Firewall)
	}
	if ingress := service.Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != now.IPv4 || ingress[0].IPMode == nil {
		w.Errorf("%s: the status is %+v", m.service.Name, ingress)
	}
	if id := service.Annotations[string(settings.ID)]; id != now.ID || !servicehelper.HasLBFinalizer(service) {
		w.Errorf("%s names the load balancer %s, not %s, and has the finalizers %v", m.service.Name, id, now.ID, service.Finalizers)
	}
}

// What is deleted afterwards, as the documentation says: one by its default label goes with its Service, one by a label of its own
// is kept, and goes with a Service that comes again when it was handed over; the one that two share goes with the last of them.
func TestMigratedServicesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		all := w.migrants()
		w.start()
		w.later(2 * time.Minute)
		w.events()
		plain, alone, first, second := named(all, "plain"), named(all, "named"), named(all, "first"), named(all, "second")

		w.delete(plain.service)
		w.delete(alone.service)
		events := w.events()
		if len(about(events, "LoadBalancerKept", alone.before.ID)) != 1 || !has(events, "DeletedLoadBalancer") {
			t.Errorf("events %q", events)
		}
		w.gonePlatform(plain)
		if lb := w.truth(alone.before.ID); lb.IPv4 != alone.before.IPv4 {
			t.Errorf("%+v", lb)
		}

		w.say(settings.HandOver, alone.before.ID, first.before.ID)
		w.later(2 * time.Minute)
		again := alone.service.DeepCopy()
		again.UID, again.Finalizers, again.ResourceVersion, again.Status = "99999999-43b6-4d94-b8f5-1c5c0e0a3c11", nil, "", v1.ServiceStatus{}
		delete(again.Annotations, string(settings.ID))
		w.add(again)
		if lb := w.settled(again); lb.ID != alone.before.ID {
			t.Errorf("the Service that came again has %+v", lb)
		}
		w.later(time.Minute)
		events = append(events, w.events()...)
		for _, m := range []*migrant{alone, first} {
			if got := about(events, "LoadBalancerAdopted", m.before.ID); len(got) != 1 || !strings.HasSuffix(got[0], "it will be deleted with the Service") {
				t.Errorf("it is said of %s: %q", m.service.Name, got)
			}
		}
		w.delete(again)
		w.gonePlatform(alone)

		w.delete(first.service)
		if lb := w.truth(first.before.ID); leads(lb) != "81:30051" || w.fresh(second.service).Status.LoadBalancer.Ingress[0].IP != lb.IPv4 {
			t.Errorf("the second is served by %+v", lb)
		}
		for _, name := range []string{"second", "secured", "sticky", "proxied"} {
			w.delete(named(all, name).service)
		}
		w.none()
		w.warnsOfNothing(append(events, w.events()...))
	})
}

// gonePlatform checks that the platform has a load balancer no more.
func (w *world) gonePlatform(m *migrant) {
	w.Helper()
	if lb, err := w.truthOf(m.before.ID); !vultr.IsNotFound(err) {
		w.Errorf("%s: %+v, %v", m.service.Name, lb, err)
	}
}
