package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/apiserver/pkg/warning"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/component-base/featuregate"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// admitter is the API server's own admission plugin with the policy of the manifest in it.
type admitter struct {
	*validating.Plugin
}

func newAdmitter(t *testing.T, action admissionv1.ValidationAction) admitter {
	t.Helper()
	policy := named[*admissionv1.ValidatingAdmissionPolicy](t, decode(t, policyFile), "vultr-load-balancer-annotations")
	fail := admissionv1.Fail
	policy.Spec.FailurePolicy = &fail // so that no test overlooks an expression that cannot be evaluated
	// The API server's defaults.
	equivalent, all := admissionv1.Equivalent, admissionv1.AllScopes
	constraints := policy.Spec.MatchConstraints
	constraints.NamespaceSelector, constraints.ObjectSelector, constraints.MatchPolicy = &metav1.LabelSelector{}, &metav1.LabelSelector{}, &equivalent
	for i := range constraints.ResourceRules {
		constraints.ResourceRules[i].Scope = &all
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{action}},
	}
	client := fake.NewSimpleClientset(policy, binding, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	factory := informers.NewSharedInformerFactory(client, 0)
	plugin, err := validating.NewPlugin(nil)
	if err != nil {
		t.Fatal(err)
	}
	initializer.New(client, dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()), factory, authorizerfactory.NewAlwaysAllowAuthorizer(),
		featuregate.NewFeatureGate(), compatibility.DefaultBuildEffectiveVersion(), t.Context().Done(), apimeta.NewDefaultRESTMapper(nil)).Initialize(plugin)
	if err := plugin.ValidateInitialization(); err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	if !plugin.WaitForReady() {
		t.Fatal("the plugin has not become ready")
	}
	return admitter{plugin}
}

// warnings collects what the plugin warns of.
type warnings struct {
	sync.Mutex
	texts []string
}

func (w *warnings) AddWarning(_, text string) {
	w.Lock()
	defer w.Unlock()
	w.texts = append(w.texts, text)
}

// admit asks whether a Service may be created, or changed from what it was.
func (a admitter) admit(ctx context.Context, before, now *corev1.Service) ([]string, error) {
	operation, options := admission.Create, runtime.Object(&metav1.CreateOptions{})
	var old runtime.Object
	if before != nil {
		operation, options, old = admission.Update, &metav1.UpdateOptions{}, before
	}
	w := &warnings{}
	err := a.Validate(warning.WithWarningRecorder(ctx, w),
		admission.NewAttributesRecord(now, old, corev1.SchemeGroupVersion.WithKind("Service"), now.Namespace, now.Name,
			corev1.SchemeGroupVersion.WithResource("services"), "", operation, options, false, &user.DefaultInfo{Name: "alice"}),
		admission.NewObjectInterfacesFromScheme(scheme.Scheme))
	for _, text := range append(slices.Clone(w.texts), fmt.Sprint(err)) {
		for _, failure := range []string{"failed to configure", "compilation", "evaluat", "no such", "budget", "cost"} {
			if strings.Contains(text, failure) {
				return nil, fmt.Errorf("the policy itself fails: %s", text)
			}
		}
	}
	return w.texts, err
}

// corpus are values of all kinds, good and bad.
var corpus = []string{
	"", " ", "\n", "0", "1", "-1", "+3", "007", "2", "3", "5", "15", "99", "100", "101", "300", "301", "600", "65535", "65536", "86400", "86401", "99999999999999999999", "1e3", "3.0", "0x10", "1_0",
	"true", "True", "tRUE", "false", "FALSE", "t", "F", "yes", "no", "NO", "on", "ON", "off", "Off", "enabled", "disabled", "none", "null",
	"tcp", "TCP", " tcp\n", "udp", "http", "Https", "sctp", "grpc", "roundrobin", "round_robin", "least_connections", "leastconn", "LeastConn", "random",
	"443", "443,8443", "443, 8443 ,", ",", "443;80", "443,https", "0,1", "443,65536", "443 8443",
	"443=https", "443=https/http,8443=tcp", "443 = HTTPS/http ,", "443=https / http", "443=udp", "443=tcp/http", "443=", "=http", "web=http", "443=https=http", "0=tcp", "443=http/",
	"10.0.0.0/8,80", "10.1.2.3/8,80", " Cloudflare , 443 ; 192.0.2.0/24,80;", "10.0.0.1,80", "10.0.0.0/33,80", "10.0.0.0/8", "10.0.0.0/8,0", "10.0.0.0/8,80,81", "2001:DB8::/32,1", "::ffff:10.0.0.0/104,80", "fe80::1%eth0/64,80", "10.0.0.0/08,80", ";", "cloudflare", "everybody,80",
	"tls", "shop-tls", "other/tls", "Shop", "a.b.c", "a..b", "-a", "a-", strings.Repeat("a", 253), strings.Repeat("a", 254), "web.example.com", "web.example.com.", "web_1",
	"route", "a b", "a;b", "a=b", "a\"b", "a\\b", "a\tb", "/", "/ok", "ok", "/a b", "//", "ütf", "\u00a0true\u00a0", "httpſ",
	"aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60", "AAAAAAAA-66fd-4dfb-b839-443f2e6c0b60\n", "aaaaaaaa66fd4dfbb839443f2e6c0b60", "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b6", "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60x",
}

// TestPolicyAgreesWithTheTable asks the API server's own evaluator about each value of each annotation.
func TestPolicyAgreesWithTheTable(t *testing.T) {
	a := newAdmitter(t, admissionv1.Warn)
	denied := 0
	for _, value := range corpus {
		annotations := map[string]string{}
		for _, key := range keys() {
			annotations[key] = value
		}
		texts, err := a.admit(t.Context(), nil, policyService(annotations))
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		for _, s := range settings.All() {
			want := false
			switch s.Support {
			case settings.Supported:
				_, err := s.Check(value)
				want = err != nil && !isLeftOut(s.Kind)
			case settings.OnNamespace, settings.Obsolete:
			}
			got := slices.ContainsFunc(texts, func(text string) bool { return isAbout(text, s.Key) })
			if got != want {
				t.Errorf("%s=%q: denied by the policy: %v, by the table: %v", s.Name(), value, got, want)
			}
			if got {
				denied++
			}
		}
	}
	if denied < 500 {
		t.Errorf("only %d values were denied", denied)
	}
}

// isLeftOut reports whether the policy leaves the values of a kind to the controller.
func isLeftOut(kind settings.Kind) bool {
	return kind == settings.PortReference || kind == settings.LabelSelector || kind == settings.RegionList
}

// isAbout reports whether a message is about the annotation.
func isAbout(text string, key settings.Key) bool {
	return strings.Contains(text, "annotation "+string(key)+" ") || strings.Contains(text, "annotation "+string(key)+":")
}

// TestPolicyWordsAreTheEvents: who is refused by the API server reads what an Event of the controller would say.
func TestPolicyWordsAreTheEvents(t *testing.T) {
	a := newAdmitter(t, admissionv1.Warn)
	compared := 0
	for _, value := range corpus {
		// Go and CEL write other characters differently in quotes.
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
			continue
		}
		refused := map[string]string{} // by the annotations for which the value is none
		for _, s := range settings.All() {
			if s.Support != settings.Supported || isLeftOut(s.Kind) {
				continue
			}
			// The controller reads a number that is 0 as the default, where the official one does.
			if _, err := s.Check(value); err != nil && (!s.Zero || value != "0") {
				refused[string(s.Key)] = value
			}
		}
		texts, err := a.admit(t.Context(), nil, policyService(refused))
		if err != nil {
			t.Fatal(err)
		}
		for key := range refused {
			r := settings.NewReader(map[string]string{key: value})
			r.Text(settings.Key(key))
			event := strings.Join(append(r.Warnings(), fmt.Sprint(r.Err())), "; ")
			said := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return !isAbout(text, settings.Key(key)) })
			if !slices.ContainsFunc(said, isPartOf(event)) {
				t.Errorf("%s=%q: the policy says %q, the Event %q", key, value, said, event)
			}
			compared++
		}
	}
	if compared < 300 {
		t.Errorf("only %d values were compared", compared)
	}
}

// isPartOf reports whether an Event has the words of a warning of the policy in it. It may go on with more than a policy can know.
func isPartOf(event string) func(warning string) bool {
	return func(warning string) bool {
		_, words, found := strings.Cut(warning, "': ")
		return found && strings.Contains(event, words)
	}
}

// TestPolicyWordsOfRefusals does the same for what is not about one value.
func TestPolicyWordsOfRefusals(t *testing.T) {
	a := newAdmitter(t, admissionv1.Warn)
	services := map[string]*corev1.Service{
		"unknown, asks for protection": policyService(map[string]string{settings.Prefix + "internal": "true"}),
		"misspelled":                   policyService(map[string]string{settings.Prefix + "tiemout": "30"}),
		"in capitals":                  policyService(map[string]string{settings.Prefix + "Timeout": "30"}),
		"of another cloud":             policyService(map[string]string{"example.com/loadbalancer-internal": "true"}),
		"ports":                        policyService(nil),
	}
	for i := range 16 {
		s := services["ports"]
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", i), Port: int32(1000 + i), Protocol: corev1.ProtocolTCP})
	}
	for name, service := range services {
		t.Run(name, func(t *testing.T) {
			texts, err := a.admit(t.Context(), nil, service)
			if err != nil {
				t.Fatal(err)
			}
			reading := plan.Read(service)
			event := strings.Join(append(reading.Warnings, fmt.Sprint(errors.Join(reading.Err, reading.MayCreate()))), "; ")
			if len(texts) == 0 || !slices.ContainsFunc(texts, isPartOf(event)) {
				t.Errorf("the policy says %q, the Event %q", texts, event)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	const prefix = settings.Prefix
	a := newAdmitter(t, admissionv1.Deny)
	class := "example.com/other"
	of := func(annotations map[string]string, change ...func(*corev1.Service)) *corev1.Service {
		s := policyService(annotations)
		for _, c := range change {
			c(s)
		}
		return s
	}
	ports := func(n int) func(*corev1.Service) {
		return func(s *corev1.Service) {
			s.Spec.Ports = make([]corev1.ServicePort, n)
			for i := range s.Spec.Ports {
				s.Spec.Ports[i].Port, s.Spec.Ports[i].Name = int32(1000+i), fmt.Sprint("p", i)
			}
		}
	}
	clusterIP := func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP }
	old := map[string]string{prefix + "timeout": "soon", prefix + "colour": "blue"}
	tests := map[string]struct {
		before, now *corev1.Service
		denied      string
	}{
		"nothing":             {nil, of(nil), ""},
		"good":                {nil, of(map[string]string{prefix + "timeout": "30", "example.com/x": "y"}), ""},
		"bad":                 {nil, of(map[string]string{prefix + "timeout": "soon"}), prefix + `timeout: "soon" must be a number from 1 to 86400`},
		"unknown":             {nil, of(map[string]string{prefix + "colour": "blue"}), "annotation " + prefix + "colour is unknown"},
		"in capitals":         {nil, of(map[string]string{prefix + "Timeout": "30"}), "annotation " + prefix + "Timeout is unknown"},
		"internal":            {nil, of(map[string]string{"service.beta.kubernetes.io/aws-load-balancer-internal": "true"}), "aws-load-balancer-internal"},
		"internal by type":    {nil, of(map[string]string{"networking.gke.io/load-balancer-type": "Internal"}), "load-balancer-type"},
		"not internal":        {nil, of(map[string]string{"service.beta.kubernetes.io/azure-load-balancer-internal": "False"}), ""},
		"of its own class":    {nil, of(old, func(s *corev1.Service) { s.Spec.LoadBalancerClass = new(plan.Class) }), `timeout: "soon" must be`},
		"another class":       {nil, of(old, func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class }), ""},
		"another type":        {nil, of(old, clusterIP), ""},
		"as it was":           {of(old), of(old, func(s *corev1.Service) { s.Finalizers = []string{"x"} }), ""},
		"one thing corrected": {of(old), of(map[string]string{prefix + "colour": "blue"}), ""},
		"changed to bad":      {of(old), of(map[string]string{prefix + "timeout": "later"}), `timeout: "later" must be`},
		"bad added":           {of(nil), of(old), `timeout: "soon" must be`},
		"becomes one":         {of(old, clusterIP), of(old), `timeout: "soon" must be`},
		"fifteen ports":       {nil, of(nil, ports(15)), ""},
		"sixteen ports":       {nil, of(nil, ports(16)), "the Service has 16 ports, but a load balancer forwards at most 15"},
		"one port more":       {of(nil, ports(15)), of(nil, ports(16)), "the Service has 16 ports"},
		"sixteen as before":   {of(nil, ports(16)), of(nil, ports(16)), ""},
		"fewer, but too many": {of(nil, ports(18)), of(nil, ports(17)), ""},
		"of a Namespace":      {of(nil), of(map[string]string{string(settings.AllowAdoption): "x", string(settings.HandOver): "y"}), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := a.admit(t.Context(), tt.before, tt.now)
			if (err == nil) != (tt.denied == "") || err != nil && !strings.Contains(err.Error(), tt.denied) {
				t.Errorf("got %v, want %q", err, tt.denied)
			}
		})
	}
}

// TestPolicyDeniesOnlyWhatTheControllerFinds: what is denied by its name alone is told by the controller too.
func TestPolicyDeniesOnlyWhatTheControllerFinds(t *testing.T) {
	a := newAdmitter(t, admissionv1.Deny)
	refused := 0
	for _, domain := range []string{settings.Prefix, "service.beta.kubernetes.io/aws-load-balancer-", "networking.gke.io/load-balancer-", "example.com/loadbalancer-", "load-balancer.hetzner.cloud/", "example.com/"} {
		for _, name := range []string{"internal", "Internal", "internal-subnet", "type", "scheme", "network", "use-private-ip", "private", "colour", "timeout"} {
			for _, value := range []string{"", "true", "False", "internal", "Private", "external"} {
				annotations := map[string]string{domain + name: value}
				_, err := a.admit(t.Context(), nil, policyService(annotations))
				if err == nil {
					continue
				}
				refused++
				r := settings.NewReader(annotations)
				r.Text(settings.Timeout)
				if len(settings.Inspect(annotations)) == 0 && r.Err() == nil {
					t.Errorf("%v is denied, but the controller does not mind: %v", annotations, err)
				}
			}
		}
	}
	if refused < 20 {
		t.Errorf("only %d were denied", refused)
	}
}

// TestPolicyStaysCheap: the evaluator gives up beyond a budget, so long and many annotations must be far from it.
func TestPolicyStaysCheap(t *testing.T) {
	a := newAdmitter(t, admissionv1.Warn)
	annotations := map[string]string{}
	for i := range 500 {
		annotations[fmt.Sprintf("example.com/annotation-%d", i)] = strings.Repeat("x", 100)
	}
	sources := make([]string, 0, 1000)
	for i := range 1000 {
		sources = append(sources, fmt.Sprintf("10.%d.%d.0/24,80", i/250, i%250))
	}
	annotations[string(settings.FirewallRules)] = strings.Join(sources, ";")
	if texts, err := a.admit(t.Context(), nil, policyService(annotations)); err != nil || len(texts) > 0 {
		t.Error(texts, err)
	}
	annotations[string(settings.FirewallRules)] += ";nobody,80"
	if texts, err := a.admit(t.Context(), nil, policyService(annotations)); err != nil || len(texts) != 1 || !strings.Contains(texts[0], string(settings.FirewallRules)) {
		t.Error("it is not evaluated to its end:", texts, err)
	}
}
