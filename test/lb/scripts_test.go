package lb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// web is the Service of the scripts, and api shares its load balancer in some.
const (
	web = "web"
	api = "api"
)

// script is something that happens to a load balancer. It is over when all is as the objects in the API server ask for.
type script struct {
	name string
	// before brings the world to where the script begins, and nothing goes wrong meanwhile. do is what the script is about.
	before, do func(w *world)
	// over is what has to come about besides, nil for nothing.
	over func(w *world) bool
}

// scripts are all that there are. Whatever the controller learns to do belongs here.
var scripts = []script{
	{name: "made and named", before: nothing, do: func(w *world) {
		w.service(web, with(settings.Label, "www"), with(settings.Timeout, "30"))
	}},
	{name: "changed", before: served(), do: func(w *world) {
		w.edit(web, with(settings.Timeout, "30"), with(settings.Algorithm, "least_connections"), w.listens(8080), admits("10.0.0.0/8"))
	}},
	{name: "opened again and renamed", before: served(admits("10.0.0.0/8"), with(settings.Label, "www")), do: func(w *world) {
		w.edit(web, admits(), without(settings.Label))
	}},
	{name: "rules of a ConfigMap", before: func(w *world) {
		w.putRules("10.0.0.0/8,80")
		served(with(settings.FirewallRulesCM, office))(w)
	}, do: func(w *world) { w.putRules("192.0.2.0/24,80\n198.51.100.0/24,80") }},
	{name: "certificate renewed", before: encrypted, do: func(w *world) { w.putCertificate(200 * 24 * time.Hour) }},
	{name: "certificate removed", before: encrypted, do: func(w *world) { w.edit(web, plainly) }},
	{name: "automatic certificate", before: func(w *world) {
		w.host("example.com")
		served()(w)
	}, do: func(w *world) { w.edit(web, w.terminates(), with(settings.AutoSSLDomain, "example.com")) }},
	{name: "automatic one ended", before: func(w *world) {
		w.host("example.com")
		served()(w)
		w.edit(web, w.terminates(), with(settings.AutoSSLDomain, "example.com"))
		w.well("the platform has issued a certificate")
	}, do: func(w *world) { w.edit(web, plainly) }},
	{name: "drift", before: served(), do: func(w *world) {
		if err := w.api.UpdateLoadBalancer(w.Context(), w.own(web), vultr.LoadBalancerSettings{Rules: &[]vultr.ForwardingRule{}}); err != nil {
			w.Fatal(err)
		}
	}},
	{name: "deleted by hand", before: served(), do: func(w *world) {
		if err := w.api.DeleteLoadBalancer(w.Context(), w.own(web)); err != nil {
			w.Fatal(err)
		}
	}},
	{name: "node lost", before: served(), do: func(w *world) { w.editNode("node-1", ready(false)) }},
	{name: "adopted", before: nothing, do: func(w *world) {
		port := w.port(80)
		lb := w.existing("theirs", int(port.NodePort), w.backends()...)
		w.kept[lb.ID] = true
		w.service(web, with(settings.ID, lb.ID), func(s *v1.Service) { s.Spec.Ports = []v1.ServicePort{port} })
	}},
	{name: "left for another one", before: served(with(settings.Label, "www")), do: func(w *world) {
		lb := w.existing("theirs", int(w.get(web).Spec.Ports[0].NodePort), w.backends()...)
		w.kept[lb.ID], w.leaving[w.own(web)] = true, true
		w.edit(web, with(settings.ID, lb.ID))
	}},
	{
		name: "handed over", before: func(w *world) {
			port := w.port(80)
			lb := w.existing("theirs", int(port.NodePort), w.backends()...)
			w.start()
			w.service(web, with(settings.ID, lb.ID), func(s *v1.Service) { s.Spec.Ports = []v1.ServicePort{port} })
			w.well("the load balancer is adopted")
		}, do: func(w *world) { w.allow(settings.HandOver, w.own(web)) },
		over: func(w *world) bool { return !w.entries()[w.get(web).UID].Adopted },
	},
	{name: "no LoadBalancer any more", before: served(with(settings.Label, "www")), do: func(w *world) {
		w.edit(web, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
	}},
	{name: "deleted", before: served(with(settings.Label, "www")), do: func(w *world) { w.remove(web) }},
	{name: "deleted while it is made", before: nothing, do: func(w *world) {
		w.service(web)
		w.pass(3 * time.Second)
		w.remove(web)
	}},
	{
		name: "joined", before: served(shares), do: func(w *world) { w.service(api, shares, w.on(8443)) },
		over: func(w *world) bool { return w.entries()[w.get(web).UID].Guests.Has(w.get(api).UID) },
	},
	{name: "two at once", before: nothing, do: func(w *world) {
		w.service(web, shares)
		w.service(api, shares, w.on(8443))
	}, over: func(w *world) bool { return w.entries()[w.get(web).UID].Guests.Has(w.get(api).UID) }},
	{name: "one of two changed", before: shared, do: func(w *world) {
		w.edit(api, admits("10.0.0.0/8"), w.listens(8080))
	}},
	{name: "guest leaves", before: shared, do: func(w *world) { w.remove(api) }},
	{name: "guest takes another label", before: shared, do: func(w *world) { w.edit(api, with(settings.Label, "other")) }},
	{name: "host leaves", before: shared, do: func(w *world) { w.remove(web) }},
	{name: "host takes another label", before: shared, do: func(w *world) { w.edit(web, with(settings.Label, "other")) }},
	{name: "both take another label", before: shared, do: func(w *world) {
		w.edit(web, with(settings.Label, "other"))
		w.edit(api, with(settings.Label, "other"))
	}, over: func(w *world) bool { return w.together(web, api) }},
	{name: "last out", before: func(w *world) {
		shared(w)
		w.remove(web)
		w.well("the guest has the load balancer")
	}, do: func(w *world) { w.remove(api) }},
	{name: "both leave", before: shared, do: func(w *world) {
		w.remove(web)
		w.remove(api)
	}},
	{name: "shared one deleted by hand", before: shared, do: func(w *world) {
		if err := w.api.DeleteLoadBalancer(w.Context(), w.own(web)); err != nil {
			w.Fatal(err)
		}
	}},
	{name: "into the VPC", before: func(w *world) {
		w.connect()
		served()(w)
	}, do: func(w *world) { w.edit(web, with(settings.VPC, "true")) }},
	{name: "out of the VPC", before: func(w *world) {
		w.connect()
		served(with(settings.VPC, "true"))(w)
	}, do: func(w *world) { w.edit(web, without(settings.VPC)) }},
	{name: "nodes chosen", before: func(w *world) {
		w.editNode("node-2", func(n *v1.Node) { n.Labels["pool"] = "web" })
		served()(w)
	}, do: func(w *world) { w.edit(web, with(settings.NodeSelector, "pool=web")) }},
	{name: "pod moved", before: func(w *world) {
		w.runs(web, map[string]bool{"node-1": true})
		served(w.local())(w)
	}, do: func(w *world) {
		w.runs(web, map[string]bool{"node-1": false, "node-2": true})
		w.pass(15 * time.Second)
		w.runs(web, map[string]bool{"node-2": true})
	}},
	{name: "spread over regions", before: served(), do: func(w *world) { w.edit(web, with(settings.GlobalRegions, "ams,fra")) }},
	{name: "spread no more", before: served(with(settings.GlobalRegions, "ams")), do: func(w *world) { w.edit(web, without(settings.GlobalRegions)) }},
	{name: "kept", before: served(with(settings.Retain, "true")), do: func(w *world) {
		w.kept[w.own(web)] = true
		w.remove(web)
	}},
	{name: "disowned", before: served(with(settings.Label, "www")), do: func(w *world) {
		w.kept[w.own(web)] = true
		w.edit(web, with(settings.Disown, "true"))
	}},
}

func nothing(w *world) { w.start() }

// served has a Service whose load balancer is as asked for.
func served(change ...func(*v1.Service)) func(w *world) {
	return func(w *world) {
		w.start()
		w.service(web, change...)
		w.well("the Service is served")
	}
}

// shares has a Service share a load balancer.
var shares = with(settings.Label, "www")

// shared has two Services whose load balancer is as both ask for.
func shared(w *world) {
	served(shares)(w)
	w.service(api, shares, w.on(8443))
	w.well("both are served")
}

// together reports whether one of two Services is written down as a guest of the other.
func (w *world) together(a, b string) bool {
	one, other, entries := w.get(a).UID, w.get(b).UID, w.entries()
	return entries[one].Guests.Has(other) || entries[other].Guests.Has(one)
}

// on has a Service listen on this port alone.
func (w *world) on(number int32) func(*v1.Service) {
	port := w.port(number)
	return func(s *v1.Service) { s.Spec.Ports = []v1.ServicePort{port} }
}

// local has connections go only to nodes with pods of the Service.
func (w *world) local() func(*v1.Service) {
	port := w.nodePort()
	return func(s *v1.Service) {
		s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyLocal, port
	}
}

// runs says on which nodes a Service has pods, and whether they are ready or end.
func (w *world) runs(name string, pods map[string]bool) {
	w.Helper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, node := range slices.Sorted(maps.Keys(pods)) {
		ready := pods[node]
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{"10.244.0.7"}, NodeName: &node,
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: new(true), Terminating: new(!ready)},
		})
	}
	objects := w.user.DiscoveryV1().EndpointSlices(namespace)
	_, err := objects.Update(w.Context(), slice, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = objects.Create(w.Context(), slice, metav1.CreateOptions{})
	}
	if err != nil {
		w.Fatal(err)
	}
}

// encrypted has one with a certificate.
func encrypted(w *world) {
	w.putCertificate(100 * 24 * time.Hour)
	served(w.terminates(), with(settings.SSL, secret))(w)
}

// well waits until nothing is wrong.
func (w *world) well(what string) {
	w.Helper()
	if !w.until(15*time.Minute, func() bool { return len(w.wrong()) == 0 }) {
		w.Fatalf("before anything goes wrong, but not so: %s: %q\n%s", what, w.wrong(), w.lastEvents())
	}
}

func (w *world) get(name string) *v1.Service {
	w.Helper()
	s, err := w.user.CoreV1().Services(namespace).Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// own returns the load balancer that a Service has.
func (w *world) own(name string) string { return w.entries()[w.get(name).UID].ID }

// listens adds a port.
func (w *world) listens(number int32) func(*v1.Service) {
	port := w.port(number)
	return func(s *v1.Service) { s.Spec.Ports = append(s.Spec.Ports, port) }
}

// terminates adds an https port.
func (w *world) terminates() func(*v1.Service) {
	listens := w.listens(443)
	return func(s *v1.Service) {
		listens(s)
		with(settings.HTTPSPorts, "443")(s)
		with(settings.BackendProtocol, "http")(s)
	}
}

// plainly takes back what terminates and a certificate have added.
func plainly(s *v1.Service) {
	without(settings.SSL, settings.AutoSSLDomain, settings.HTTPSPorts, settings.BackendProtocol)(s)
	var rest []v1.ServicePort
	for _, port := range s.Spec.Ports {
		if port.Port != 443 {
			rest = append(rest, port)
		}
	}
	s.Spec.Ports = rest
}

// admits says who may connect, everybody if nobody is named.
func admits(ranges ...string) func(*v1.Service) {
	return func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = ranges }
}

// allow writes the administrator's word into the Namespace.
func (w *world) allow(key settings.Key, id string) {
	w.Helper()
	w.again(func() error {
		found, err := w.user.CoreV1().Namespaces().Get(w.Context(), namespace, metav1.GetOptions{})
		if err != nil {
			return err
		}
		metav1.SetMetaDataAnnotation(&found.ObjectMeta, string(key), id)
		_, err = w.user.CoreV1().Namespaces().Update(w.Context(), found, metav1.UpdateOptions{})
		return err
	})
}

// The objects that Services name.
const (
	office = "office" // a ConfigMap with firewall rules
	secret = "tls"    // a Secret with a certificate
)

// putRules writes the firewall rules.
func (w *world) putRules(text string) {
	w.Helper()
	objects := w.user.CoreV1().ConfigMaps(namespace)
	rules := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: office}, Data: map[string]string{plan.FirewallMapKey: text}}
	_, err := objects.Update(w.Context(), rules, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = objects.Create(w.Context(), rules, metav1.CreateOptions{})
	}
	if err != nil {
		w.Fatal(err)
	}
}

// putCertificate writes a certificate that is valid for so long, or was until then.
func (w *world) putCertificate(validity time.Duration) {
	w.Helper()
	secrets := w.user.CoreV1().Secrets(namespace)
	content, err := newCertificate(time.Now().Add(validity))
	if err != nil {
		w.Fatal(err)
	}
	fresh := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: secret}, Data: content}
	_, err = secrets.Update(w.Context(), fresh, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = secrets.Create(w.Context(), fresh, metav1.CreateOptions{})
	}
	if err != nil {
		w.Fatal(err)
	}
}

// newCertificate returns what a TLS Secret holds.
func newCertificate(until time.Time) (map[string][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(until.UnixNano()), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, DNSNames: []string{"shop.example.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		v1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		v1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// operate sends a request of the cloud's operator that the client has no method for.
func (w *world) operate(method, path, body string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, w.cloud.URL+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.cloud.Key)
	answer, err := w.road.RoundTrip(req)
	if err != nil {
		w.Fatal(err)
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		w.Fatalf("%s %s: %s", method, path, answer.Status)
	}
}

// host adds a domain to the account's DNS.
func (w *world) host(domain string) {
	w.Helper()
	w.operate(http.MethodPost, "/v2/domains", `{"domain":"`+domain+`"}`)
}
