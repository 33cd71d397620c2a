package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// The admission policy, and where it is documented.
const (
	policyFile     = "load-balancer-annotations.yaml"
	policyPage     = "load-balancers.md"
	policyName     = "vultr-load-balancer-annotations"
	policyEnforced = policyName + "-enforced"
	bindingKind    = "ValidatingAdmissionPolicyBinding"
)

// Policy has the apiserver refuse what the controller refuses, in the words of the controller's Events.
func Policy() Step {
	return Step{"the admission policy refuses what the controller refuses, in its words", withinStep("policy", policyRefuses)}
}

// policyRefuses applies the policy as documented. In a namespace in which it is enforced faulty Services are refused; in the
// world's own the same ones are only warned of, so that there the controller says what it thinks of them.
func policyRefuses(ctx context.Context, w *World) (detail string, err error) {
	strict, err := w.inNamespace(ctx, "policy-enforced")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, strict.endPolicy(context.WithoutCancel(ctx))) }()
	if err := strict.haveFaults(ctx); err != nil {
		return "", err
	}
	policy, err := strict.applyPolicy(ctx)
	if err != nil {
		return "", err
	}
	tried, err := triedOn(policy)
	if err != nil {
		return "", err
	}
	if err := strict.policyActs(ctx, tried[0].bad); err != nil {
		return "", err
	}
	words, err := strict.refused(ctx, tried)
	if err != nil {
		return "", err
	}
	if err := w.warned(ctx, tried, words); err != nil {
		return "", err
	}
	if err := w.eventsSay(ctx, words); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d faulty Services are refused, in the words of the controller's Events; a faulty one from before goes on", len(words)), strict.formerGoesOn(ctx)
}

// endPolicy removes the policy with its bindings, and the namespace.
func (w *World) endPolicy(ctx context.Context) error {
	admission := w.Kubernetes.AdmissionregistrationV1()
	var errs []error
	for _, name := range []string{policyName, policyEnforced} {
		errs = append(errs, ignoreMissing(admission.ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{})))
	}
	errs = append(errs, ignoreMissing(admission.ValidatingAdmissionPolicies().Delete(ctx, policyName, metav1.DeleteOptions{})))
	return errors.Join(append(errs, w.deleteNamespace(ctx))...)
}

func ignoreMissing(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// applyPolicy applies the policy with its bindings, as an administrator does, and waits until Kubernetes has checked its types: it
// must find nothing.
func (w *World) applyPolicy(ctx context.Context) (*admissionv1.ValidatingAdmissionPolicy, error) {
	content, err := os.ReadFile(filepath.Join(w.Source, "deploy", "policies", policyFile))
	if err != nil {
		return nil, err
	}
	bindings, err := w.documentedOf(policyPage, bindingKind)
	if err != nil {
		return nil, err
	}
	for _, objects := range append([]string{string(content)}, bindings...) {
		if _, err := w.Kubectl(ctx, objects, "apply", "-f", "-"); err != nil {
			return nil, err
		}
	}
	if err := w.enforce(ctx); err != nil {
		return nil, err
	}
	var policy *admissionv1.ValidatingAdmissionPolicy
	err = w.wait(ctx, "Kubernetes has checked the policy's types", func(ctx context.Context) error {
		policy, err = w.Kubernetes.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(ctx, policyName, metav1.GetOptions{})
		if err == nil && policy.Status.ObservedGeneration < policy.Generation {
			err = fmt.Errorf("it has seen generation %d of %d", policy.Status.ObservedGeneration, policy.Generation)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if checked := policy.Status.TypeChecking; checked != nil && len(checked.ExpressionWarnings) > 0 {
		return nil, fmt.Errorf("the policy's types: Kubernetes warns of %+v", checked.ExpressionWarnings)
	}
	return policy, nil
}

// documentedOf lists the manifests of a kind in a page in docs.
func (w *World) documentedOf(page, kind string) ([]string, error) {
	all, err := w.manifests(page)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, manifest := range all {
		var h head
		if err := yaml.Unmarshal([]byte(manifest), &h); err != nil {
			return nil, fmt.Errorf("docs/%s: %w", page, err)
		}
		if h.Kind == kind {
			found = append(found, manifest)
		}
	}
	return found, nil
}

// enforce gives the namespace the labels by which the documented binding selects it.
func (w *World) enforce(ctx context.Context) error {
	var binding admissionv1.ValidatingAdmissionPolicyBinding
	if err := w.documented(policyPage, bindingKind, policyEnforced, &binding); err != nil {
		return err
	}
	if binding.Spec.MatchResources == nil || binding.Spec.MatchResources.NamespaceSelector == nil {
		return fmt.Errorf("docs/%s: the binding %s selects no namespaces", policyPage, policyEnforced)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": binding.Spec.MatchResources.NamespaceSelector.MatchLabels}})
	if err != nil {
		return err
	}
	_, err = w.Kubernetes.CoreV1().Namespaces().Patch(ctx, w.Namespace, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// allowed asks the apiserver whether a Service could be made.
func (w *World) allowed(ctx context.Context, service *corev1.Service) error {
	_, err := w.Kubernetes.CoreV1().Services(w.Namespace).Create(ctx, service.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// policyActs waits until the apiserver judges by the policy, which it learns of by a watch.
func (w *World) policyActs(ctx context.Context, faulty *corev1.Service) error {
	return w.wait(ctx, "the policy is in force", func(ctx context.Context) error {
		err := w.allowed(ctx, faulty)
		switch {
		case err == nil:
			return errors.New("a faulty Service would be let in")
		case !strings.Contains(err.Error(), denial):
			return err
		}
		return nil
	})
}

// denial precedes the policy's own words.
const denial = "denied request: "

// refused tries to make each faulty Service, and returns in which words it was refused. What is right is let in.
func (w *World) refused(ctx context.Context, tried []trial) (map[string]string, error) {
	words := map[string]string{}
	var faults []error
	for _, t := range tried {
		_, err := w.Kubernetes.CoreV1().Services(w.Namespace).Create(ctx, t.bad.DeepCopy(), metav1.CreateOptions{})
		if err == nil {
			faults = append(faults, fmt.Errorf("%s was let in: %v", t.bad.Name, t.bad.Annotations))
			continue
		}
		_, said, found := strings.Cut(err.Error(), denial)
		if !found {
			faults = append(faults, fmt.Errorf("%s: %w", t.bad.Name, err))
		}
		words[t.bad.Name] = said
		if t.good == nil {
			continue
		}
		if err := w.allowed(ctx, t.good); err != nil {
			faults = append(faults, fmt.Errorf("%v is refused: %w", t.good.Annotations, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	// As users see it.
	first := tried[0].bad
	manifest, err := manifestOf(first)
	if err != nil {
		return nil, err
	}
	_, err = w.Kubectl(ctx, manifest, "apply", "-n", w.Namespace, "-f", "-")
	switch {
	case err == nil:
		return nil, fmt.Errorf("kubectl applies %s", first.Name)
	case !strings.Contains(err.Error(), words[first.Name]):
		return nil, fmt.Errorf("kubectl does not say %q: %w", words[first.Name], err)
	}
	return words, nil
}

// warned makes all faulty Services where the policy only warns. kubectl shows the same words for each.
func (w *World) warned(ctx context.Context, tried []trial, words map[string]string) error {
	manifests := make([]string, 0, len(tried))
	for _, t := range tried {
		manifest, err := manifestOf(t.bad)
		if err != nil {
			return err
		}
		manifests = append(manifests, manifest)
	}
	out, err := w.Kubectl(ctx, strings.Join(manifests, "\n---\n"), "apply", "-n", w.Namespace, "-f", "-")
	if err != nil {
		return err
	}
	var faults []error
	for name, said := range words {
		if !strings.Contains(out, said) {
			faults = append(faults, fmt.Errorf("%s: kubectl does not warn by %q", name, said))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w; it says %s", err, out)
	}
	return nil
}

func manifestOf(service *corev1.Service) (string, error) {
	service = service.DeepCopy()
	service.APIVersion, service.Kind = "v1", "Service"
	content, err := yaml.Marshal(service)
	return string(content), err
}

// eventsSay waits until the controller has said of each Service, in an Event, what the policy says.
func (w *World) eventsSay(ctx context.Context, words map[string]string) error {
	return w.wait(ctx, "the controller says the same in Events", func(ctx context.Context) error {
		list, err := w.Kubernetes.CoreV1().Events(w.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		said := map[string][]string{}
		for i := range list.Items {
			name := list.Items[i].InvolvedObject.Name
			said[name] = append(said[name], list.Items[i].Message)
		}
		var missing []error
		for name, want := range words {
			if !slices.ContainsFunc(said[name], func(message string) bool { return strings.Contains(message, want) }) {
				missing = append(missing, fmt.Errorf("%s: the policy says %q, the controller %q", name, want, said[name]))
			}
		}
		return errors.Join(missing...)
	})
}
