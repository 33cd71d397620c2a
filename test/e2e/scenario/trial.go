package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// trial is a Service with one thing that the policy refuses, and one in which that is right, nil for none.
type trial struct{ bad, good *corev1.Service }

// fewestTrials is how many rules the policy has at least.
const fewestTrials = 30

// aboutAnnotation is what a rule of the policy says about one annotation.
var aboutAnnotation = regexp.MustCompile(`^annotation ` + regexp.QuoteMeta(loadBalancer) + `(\S+) (.+)$`)

// annotationValues are examples of what an annotation can be and of what it cannot, by what a rule demands. The first that fits counts.
var annotationValues = []struct {
	demands   *regexp.Regexp
	good, bad string
}{
	{regexp.MustCompile(`true(,| or) false`), "true", "perhaps"},
	{regexp.MustCompile(`list of port numbers`), "443, 8443", "443;8443"},
	{regexp.MustCompile(`list of port=protocol`), "443=https/http,8443=tcp", "443=gopher"},
	{regexp.MustCompile(`list of source,port`), "203.0.113.0/24,80;cloudflare,443", "203.0.113.7,80"},
	{regexp.MustCompile(`name of a.* (Secret|ConfigMap)`), "shop", "other/shop"},
	{regexp.MustCompile(`host name in lower case`), "web.example.com", "Web_1"},
	{regexp.MustCompile(`name that a cookie can have`), "route", "a;b"},
	{regexp.MustCompile(`must begin with /`), "/ok", "ok"},
	{regexp.MustCompile(`the UUID of a load balancer`), "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60", "web"},
	{regexp.MustCompile(`must not be empty`), "shop", " "},
}

var (
	oneOf  = regexp.MustCompile(`one of ([^,]+),`)
	fromTo = regexp.MustCompile(`number from (\d+) to (\d+)$`)
)

// readOnlyWith are annotations without which the controller does not read another one, by the name of that one.
var readOnlyWith = map[string]map[string]string{
	"sticky-session-cookie-name": {loadBalancer + "sticky-session-enabled": "on"},
}

// examples returns what an annotation can be and what it cannot.
func examples(demands string) (good, bad string, err error) {
	for _, v := range annotationValues {
		if v.demands.MatchString(demands) {
			return v.good, v.bad, nil
		}
	}
	if match := oneOf.FindStringSubmatch(demands); match != nil {
		return match[1], "perhaps", nil
	}
	if match := fromTo.FindStringSubmatch(demands); match != nil {
		highest, err := strconv.Atoi(match[2])
		return match[1], strconv.Itoa(highest + 1), err
	}
	return "", "", fmt.Errorf("no example is known of what %q", demands)
}

// triedOn makes a trial of each rule of the policy.
func triedOn(policy *admissionv1.ValidatingAdmissionPolicy) ([]trial, error) {
	tried := []trial{
		{bad: faulty("ports", nil, 16), good: faulty("ports", nil, 15)},
		{bad: faulty("unknown", map[string]string{loadBalancer + "internal": "true"}, 1)},
		{bad: faulty("misspelled", map[string]string{loadBalancer + "tiemout": "30"}, 1)},
		{
			bad:  faulty("internal", map[string]string{"example.com/loadbalancer-internal": "true"}, 1),
			good: faulty("internal", map[string]string{"example.com/loadbalancer-internal": "false"}, 1),
		},
	}
	var faults []error
	for _, v := range policy.Spec.Validations {
		about := aboutAnnotation.FindStringSubmatch(v.Message)
		if about == nil {
			continue
		}
		good, bad, err := examples(about[2])
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", about[1], err))
			continue
		}
		with := func(value string) *corev1.Service {
			annotations := map[string]string{loadBalancer + about[1]: value}
			maps.Copy(annotations, readOnlyWith[about[1]])
			return faulty(about[1], annotations, 1)
		}
		tried = append(tried, trial{bad: with(bad), good: with(good)})
	}
	if len(tried) < fewestTrials {
		faults = append(faults, fmt.Errorf("the policy has only %d rules", len(tried)))
	}
	return tried, errors.Join(faults...)
}

// faulty is a Service for which no load balancer is made, whatever else it says: the port that is to be checked does not exist, which
// no policy can know.
func faulty(name string, annotations map[string]string, ports int32) *corev1.Service {
	s := balancedService("tried-" + name)
	s.Annotations = map[string]string{loadBalancer + "healthcheck-port": "no-such-port"}
	maps.Copy(s.Annotations, annotations)
	s.Spec.Ports = nil
	for n := range ports {
		s.Spec.Ports = append(s.Spec.Ports, tcpPort(80+n))
	}
	return s
}

// former is a Service that is there before the policy.
const former = "former"

// haveFaults makes it with faults of all kinds, and waits until the controller has taken notice of it.
func (w *World) haveFaults(ctx context.Context) error {
	s := faulty(former, map[string]string{loadBalancer + "timeout": "soon", loadBalancer + "colour": "blue", "example.com/loadbalancer-internal": "true"}, 16)
	s.Name = former
	services := w.Kubernetes.CoreV1().Services(w.Namespace)
	if _, err := services.Create(ctx, s, metav1.CreateOptions{}); err != nil {
		return err
	}
	return w.wait(ctx, "the controller has put its finalizer on the Service "+former, func(ctx context.Context) error {
		now, err := services.Get(ctx, former, metav1.GetOptions{})
		if err == nil && !slices.Contains(now.Finalizers, balancerFinalizer) {
			err = fmt.Errorf("it has the finalizers %v", now.Finalizers)
		}
		return err
	})
}

// formerGoesOn changes a faulty Service from before where its faults are not concerned, corrects one of them, tries to make it
// worse, and deletes it.
func (w *World) formerGoesOn(ctx context.Context) error {
	annotate := func(name, value string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Annotations[loadBalancer+name] = value }
	}
	for _, step := range []struct {
		what    string
		change  func(*corev1.Service)
		refused string
	}{
		{"a label", func(s *corev1.Service) { s.Labels = map[string]string{"team": "shop"} }, ""},
		{"a finalizer", func(s *corev1.Service) { s.Finalizers = append(s.Finalizers, foreignFinalizer) }, ""},
		{"no finalizer", func(s *corev1.Service) {
			s.Finalizers = slices.DeleteFunc(s.Finalizers, func(name string) bool { return name == foreignFinalizer })
		}, ""},
		{"one port less", func(s *corev1.Service) { s.Spec.Ports = s.Spec.Ports[:15] }, ""},
		{"another wrong value", annotate("timeout", "later"), `"later" must be a number`},
		{"a right value", annotate("timeout", "30"), ""},
		{"one fault more", annotate("tiemout", "30"), "tiemout is unknown"},
		{"too many ports", func(s *corev1.Service) { s.Spec.Ports = append(s.Spec.Ports, tcpPort(7000)) }, "has 16 ports"},
	} {
		err := w.updateService(ctx, former, step.change)
		switch {
		case err == nil && step.refused != "":
			return fmt.Errorf("%s for a Service with faults is let in, and not refused by %q", step.what, step.refused)
		case err != nil && (step.refused == "" || !strings.Contains(err.Error(), step.refused)):
			return fmt.Errorf("%s for a Service with faults: %w", step.what, err)
		}
	}
	services := w.Kubernetes.CoreV1().Services(w.Namespace)
	status := []byte(`{"status":{"conditions":[{"type":"example.com/Seen","status":"True","reason":"Seen","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`)
	if _, err := services.Patch(ctx, former, types.MergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("the status of a Service with faults: %w", err)
	}
	if err := services.Delete(ctx, former, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return w.wait(ctx, "the Service with faults is gone", func(ctx context.Context) error {
		now, err := services.Get(ctx, former, metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("it has the finalizers %v", now.Finalizers)
		}
		return ignoreMissing(err)
	})
}
