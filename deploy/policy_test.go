package deploy

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

var update = flag.Bool("update", false, "write the manifests that are generated instead of comparing them")

const policyFile = "policies/load-balancer-annotations.yaml"

// TestPolicyIsGenerated compares the admission policy with the table of annotations. After a change of the table:
// go test ./deploy -run Policy -update.
func TestPolicyIsGenerated(t *testing.T) {
	content, err := yaml.Marshal(policy(t))
	if err != nil {
		t.Fatal(err)
	}
	want := policyHead + strings.TrimSuffix(string(content), "status: {}\n")
	if *update {
		if err := os.WriteFile(policyFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(policyFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s differs from the table in pkg/cloud/settings; run: go test ./deploy -run Policy -update", policyFile)
	}
}

const policyHead = `# Checks the annotations of Services of type LoadBalancer when they are set or changed. It is optional, and does nothing
# without a binding: see docs/load-balancers.md.
# Generated from pkg/cloud/settings by: go test ./deploy -run Policy -update
`

func policy(t *testing.T) *admissionv1.ValidatingAdmissionPolicy {
	// The controller checks everything again, so a policy that cannot be evaluated is no reason to hold anybody up.
	ignore := admissionv1.Ignore
	p := &admissionv1.ValidatingAdmissionPolicy{
		TypeMeta: metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicy"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "vultr-load-balancer-annotations", Labels: map[string]string{"app": "vultr-ccm"},
		},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &ignore,
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"services"}},
				},
			}}},
			MatchConditions: []admissionv1.MatchCondition{{
				Name:       "load-balancer-of-this-controller",
				Expression: `object.spec.?type.orValue("") == "LoadBalancer" && object.spec.?loadBalancerClass.orValue(` + quote(plan.Class) + `) == ` + quote(plan.Class),
			}},
			Variables: []admissionv1.Variable{
				{Name: "new", Expression: `has(object.metadata.annotations) ? object.metadata.annotations : {}`},
				{Name: "old", Expression: `oldObject != null && oldObject.spec.?type.orValue("") == "LoadBalancer" && has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}`},
				// What stays as it is holds nobody up: a Service that serves is never stuck in its old annotations.
				{Name: "changed", Expression: `variables.new.filter(k, !(k in variables.old) || variables.old[k] != variables.new[k])`},
				{Name: "unknown", Expression: `variables.changed.filter(k, k.lowerAscii().startsWith(` + quote(settings.Prefix) + `) && !(k in ` + quote(keys()) + `))`},
				// In any cloud's words, a value that says no asks for nothing.
				{Name: "internal", Expression: `variables.changed.filter(k, k.lowerAscii().matches("load[-_.]?balancer") && (` +
					`k.lowerAscii().matches("/.*internal") && !(variables.new[k].trim().lowerAscii() in ` + quote(settings.OffWords()) + `) || ` +
					`k.lowerAscii().matches("[-_./](type|scheme|network)$") && variables.new[k].trim().lowerAscii() in ["internal", "private", "intranet"]))`},
			},
		},
	}
	for _, s := range settings.All() {
		allowed, problem := rule(t, s)
		if allowed == "" {
			continue
		}
		key := quote(s.Key)
		v := admissionv1.Validation{
			Expression: fmt.Sprintf("!(%s in variables.changed) || [variables.new[%s].trim()].all(v, %s)", key, key, allowed),
			Message:    "annotation " + string(s.Key) + " " + problem,
		}
		// As the controller says it. Where the value has a line break, which a message can't have, the other one is used.
		v.MessageExpression = quote("annotation "+string(s.Key)+": \"") + " + variables.new[" + key + "] + " + quote("\" "+problem)
		p.Spec.Validations = append(p.Spec.Validations, v)
	}
	p.Spec.Validations = append(p.Spec.Validations,
		admissionv1.Validation{
			Expression: fmt.Sprintf(`!has(object.spec.ports) || object.spec.ports.size() <= %d || oldObject != null && has(oldObject.spec.ports) && oldObject.spec.ports.size() >= object.spec.ports.size()`, plan.MaxRules),
			Message:    fmt.Sprintf("the Service has more ports than the %d that a load balancer forwards", plan.MaxRules),
			// As the controller says it.
			MessageExpression: fmt.Sprintf(`"the Service has " + string(object.spec.ports.size()) + " ports, but a load balancer forwards at most %d"`, plan.MaxRules),
		},
		admissionv1.Validation{
			Expression: `variables.unknown.size() == 0`, Message: "an annotation is unknown",
			// As the controller says it; it goes on with what was probably meant.
			MessageExpression: `variables.unknown.map(k, "annotation " + k + " is unknown").join("; ")`,
		},
		admissionv1.Validation{
			Expression: `variables.internal.size() == 0`, Message: "an annotation asks for an internal load balancer, which the platform does not have",
			// As the controller says it; of other clouds it names the one whose annotation it is.
			MessageExpression: `variables.internal.map(k, "annotation " + k + " has no effect here").join("; ") + ` + quote("; "+plan.AllPublic),
		})
	return p
}

// rule returns an expression about v, the value without white space around it, and what it demands in words: those of the
// controller's Event.
func rule(t *testing.T, s settings.Setting) (expression, problem string) {
	t.Helper()
	switch s.Support {
	case settings.OnNamespace, settings.Obsolete:
		return "", ""
	case settings.Supported:
	}
	return condition(t, s), s.Complaint()
}

func condition(t *testing.T, s settings.Setting) string {
	t.Helper()
	switch s.Kind {
	case settings.Switch:
		return switches
	case settings.Choice:
		spellings := slices.Clone(s.Values)
		for alias := range s.Aliases {
			spellings = append(spellings, alias)
		}
		return `v.lowerAscii() in ` + quote(append([]string{""}, spellings...))
	case settings.Number:
		odd := ""
		if s.Odd {
			odd = " && int(v) % 2 == 1"
		}
		return fmt.Sprintf(`v == "" || %s && int(v) >= %d && int(v) <= %d%s`, integer("v"), s.Lowest, s.Highest, odd)
	case settings.PortList:
		return `v.split(",").all(p, p.trim() == "" || ` + port("p.trim()") + `)`
	case settings.PortMap:
		return `v.split(",").all(e, e.trim() == "" || e.split("=").size() == 2 && ` + port(`e.split("=")[0].trim()`) + ` && e.split("=")[1].trim().lowerAscii() in ` + quote(settings.PortSpellings()) + `)`
	case settings.SourceList:
		return `v.split(";").all(e, e.trim() == "" || e.split(",").size() == 2 && (e.split(",")[0].trim().lowerAscii() == "cloudflare" || isCIDR(e.split(",")[0].trim())) && ` + port(`e.split(",")[1].trim()`) + `)`
	case settings.ObjectName, settings.HostName:
		return dnsName
	case settings.CookieName:
		return `!v.matches("[ \\t\\r\\n,;=\"\\\\]")`
	case settings.URLPath:
		return `v == "" || v.startsWith("/")`
	case settings.UUID:
		return `v == "" || ` + uuid
	case settings.VPCReference:
		return switches + ` || ` + uuid
	case settings.Text:
		return `v != ""`
	case settings.PortReference, settings.LabelSelector, settings.RegionList:
		return "" // depends on the ports of the Service; has a grammar of its own; depends on the platform
	}
	t.Fatalf("%s is of a kind that the policy cannot check", s.Key)
	return ""
}

const (
	switches = `v in ["", "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"]`
	uuid     = `v.matches("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")`
)

const dnsName = `v == "" || v.size() <= 253 && v.matches("^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")`

func integer(v string) string { return v + `.matches("^[-+]?0*[0-9]{1,9}$")` }

func port(v string) string { return integer(v) + ` && int(` + v + `) >= 1 && int(` + v + `) <= 65535` }

func keys() []string {
	var all []string
	for _, s := range settings.All() {
		all = append(all, string(s.Key))
	}
	return all
}

// quote writes a string or a list of them as CEL does, which is as JSON does.
func quote(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return strconv.Quote(err.Error())
	}
	return string(text)
}

func policyService(annotations map[string]string) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: annotations},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
}
