package scenario

import (
	"os"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// TestTriedOn: there is an example for every rule of the shipped policy, so that one whose kind is new is noticed without a cluster.
func TestTriedOn(t *testing.T) {
	content, err := os.ReadFile("../../../deploy/policies/" + policyFile)
	if err != nil {
		t.Fatal(err)
	}
	var policy admissionv1.ValidatingAdmissionPolicy
	if err := yaml.UnmarshalStrict(content, &policy); err != nil {
		t.Fatal(err)
	}
	tried, err := triedOn(&policy)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, one := range tried {
		name := one.bad.Name
		if faults := validation.IsDNS1035Label(name); len(faults) > 0 || names[name] {
			t.Errorf("the name %s: %v, or it is there twice", name, faults)
		}
		names[name] = true
	}
	// Every rule but those about all annotations and the ports is about one annotation.
	if rules := len(policy.Spec.Validations); len(tried) != rules+1 {
		t.Errorf("%d Services for %d rules: one for each, and two for unknown annotations", len(tried), rules)
	}
	policy.Spec.Validations[0].Message = "annotation " + loadBalancer + "protocol must be what nobody knows"
	if _, err := triedOn(&policy); err == nil {
		t.Error("a rule that demands what nobody knows is taken")
	}
}

func TestExamples(t *testing.T) {
	for demands, want := range map[string][2]string{
		"must be true or false":                         {"true", "perhaps"},
		"is not one of true, false":                     {"true", "perhaps"},
		"must be one of tcp, http, https":               {"tcp", "perhaps"},
		"is not one of on, off":                         {"on", "perhaps"},
		"must be a number from 1 to 300":                {"1", "301"},
		"must be an odd number from 1 to 99":            {"1", "100"},
		"must be the name of a TLS Secret in the place": {"shop", "other/shop"},
		"must be the name of a ConfigMap in the place":  {"shop", "other/shop"},
	} {
		if good, bad, err := examples(demands); err != nil || good != want[0] || bad != want[1] {
			t.Errorf("%q: %q, %q, %v", demands, good, bad, err)
		}
	}
}
