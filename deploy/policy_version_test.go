package deploy

import (
	"errors"
	"fmt"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/cel/environment"
)

// TestPolicyNeedsKubernetes131 holds what docs/load-balancers.md says. An API server takes into new objects what the version
// before it knew already.
func TestPolicyNeedsKubernetes131(t *testing.T) {
	for minor, want := range map[uint]bool{30: false, 31: true, 34: true} {
		t.Run(fmt.Sprint("1.", minor), func(t *testing.T) {
			err := compiles(t, version.MajorMinor(1, minor-1))
			if (err == nil) != want {
				t.Errorf("the policy can be used: %v: %v", err == nil, err)
			}
		})
	}
}

// compiles returns what of the policy cannot be compiled with what a version of Kubernetes knows.
func compiles(t *testing.T, known *version.Version) error {
	t.Helper()
	policy := named[*admissionv1.ValidatingAdmissionPolicy](t, decode(t, policyFile), "vultr-load-balancer-annotations")
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(known))
	if err != nil {
		t.Fatal(err)
	}
	options := cel.OptionalVariableDeclarations{HasAuthorizer: true}
	var faults []error
	for _, v := range policy.Spec.Variables {
		result := compiler.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression}, options, environment.NewExpressions)
		if result.Error != nil {
			faults = append(faults, fmt.Errorf("variable %s: %w", v.Name, result.Error))
		}
	}
	var expressions []cel.ExpressionAccessor
	for _, c := range policy.Spec.MatchConditions {
		expressions = append(expressions, &validating.ValidationCondition{Expression: c.Expression})
	}
	for _, v := range policy.Spec.Validations {
		expressions = append(expressions, &validating.ValidationCondition{Expression: v.Expression})
		if v.MessageExpression != "" {
			expressions = append(expressions, &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression})
		}
	}
	faults = append(faults, compiler.CompileCondition(expressions, options, environment.NewExpressions).CompilationErrors()...)
	return errors.Join(faults...)
}
