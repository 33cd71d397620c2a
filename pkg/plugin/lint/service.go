package lint

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/joined"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// unallocated is the first of the node ports by which the API server's future choices are stood in for. It is outside of
// the range that the API server chooses from.
const unallocated = 60000

// offline returns the Service as the API server would complete it.
func offline(service *v1.Service) *v1.Service {
	service = service.DeepCopy()
	if service.Spec.Type != v1.ServiceTypeLoadBalancer {
		return service
	}
	allocates := service.Spec.AllocateLoadBalancerNodePorts == nil || *service.Spec.AllocateLoadBalancerNodePorts
	for i := range service.Spec.Ports {
		port := &service.Spec.Ports[i]
		if port.Protocol == "" {
			port.Protocol = v1.ProtocolTCP
		}
		if port.NodePort == 0 && allocates {
			port.NodePort = unallocated + int32(i) //nolint:gosec // a Service has few ports
		}
	}
	if service.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal && service.Spec.HealthCheckNodePort == 0 {
		service.Spec.HealthCheckNodePort = unallocated - 1
	}
	return service
}

// Service says what the cloud controller manager would: faults, for which nothing is made or changed, and warnings.
func Service(where Where, service *v1.Service, c Context) []report.Finding {
	s := serviceLint{Where: where, service: service}
	switch {
	case service.Spec.Type != v1.ServiceTypeLoadBalancer:
		s.misplaced("the Service is not of type LoadBalancer", "set spec.type: LoadBalancer, or remove it")
		return s.findings
	case !plan.OfClass(service, false):
		s.misplaced(fmt.Sprintf("the Service has the class %q, which is left to another controller", *service.Spec.LoadBalancerClass),
			"remove spec.loadBalancerClass before the Service is created, or remove the annotation")
		return s.findings
	case !plan.Managed(service):
		return nil // it asks for nothing
	}
	reading := c.reading(service)
	for _, fault := range joined.Errors(reading.Err) {
		s.add(report.Error, fault.Error(), s.keyOf(fault))
	}
	refusal := reading.MayCreate()
	if refusal != nil {
		s.add(report.Error, refusal.Error(), string(reading.Unprotected[0]))
	}
	for _, warning := range reading.Warnings {
		s.add(report.Warning, warning, s.mentioned(warning))
	}
	for _, key := range s.keys() {
		if row, ok := settings.Lookup(settings.Key(key)); ok && row.Support == settings.OnNamespace {
			s.findings = append(s.findings, s.finding(report.Warning, checkAnnotation, key, "has no effect on a Service",
				"an administrator sets it on the Namespace", "metadata", "annotations", key))
		}
	}
	return s.findings
}

type serviceLint struct {
	Where

	service  *v1.Service
	findings []report.Finding
}

// keys are the Service's annotations of this controller, sorted.
func (s *serviceLint) keys() []string {
	ours := func(key string) bool { return !strings.HasPrefix(key, settings.Prefix) }
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.service.Annotations)), ours)
}

// misplaced reports annotations that nobody reads.
func (s *serviceLint) misplaced(why, remedy string) {
	for _, key := range s.keys() {
		s.findings = append(s.findings, s.finding(report.Warning, checkAnnotation, key, "has no effect: "+why, remedy, "metadata", "annotations", key))
	}
}

func (s *serviceLint) add(severity report.Severity, problem, key string) {
	if key == "" {
		path, remedy := s.field(problem)
		s.findings = append(s.findings, s.finding(severity, checkService, "", problem, remedy, path...))
		return
	}
	s.findings = append(s.findings, s.finding(severity, checkAnnotation, key, problem, remedyFor(settings.Key(key)), "metadata", "annotations", key))
}

// remedyFor says what the annotation is for, since its problem says what it may be.
func remedyFor(key settings.Key) string {
	if row, ok := settings.Lookup(key); ok {
		return fmt.Sprintf("%s (%s)", strings.TrimSuffix(row.Doc, "."), reference("annotations.md"))
	}
	return "correct or remove it (" + reference("annotations.md") + ")"
}

// keyOf returns the annotation that a fault is about, "" if it is about none.
func (s *serviceLint) keyOf(fault error) string {
	if value, ok := errors.AsType[*settings.ValueError](fault); ok {
		return string(value.Key)
	}
	return s.mentioned(fault.Error())
}

// mentioned returns the annotation of the Service that a text names first, the longest of those that begin there.
func (s *serviceLint) mentioned(text string) string {
	best, at := "", len(text)
	for key := range s.service.Annotations {
		i := strings.Index(text, key)
		if i >= 0 && (i < at || i == at && len(key) > len(best)) {
			best, at = key, i
		}
	}
	return best
}

// field returns the part of the Service that a text is about which names no annotation, and what to do.
func (s *serviceLint) field(text string) (path []string, remedy string) {
	switch {
	case strings.Contains(text, "loadBalancerSourceRanges"):
		return []string{"spec", "loadBalancerSourceRanges"}, "write each range as address and prefix length"
	case strings.Contains(text, "sessionAffinity"):
		return []string{"spec", "sessionAffinity"}, reference("load-balancers.md")
	case strings.Contains(text, "loadBalancerIP"):
		return []string{"spec", "loadBalancerIP"}, "remove the field"
	}
	return []string{"spec", "ports"}, reference("load-balancers.md")
}

// Namespace judges the annotations by which an administrator gives load balancers away.
func Namespace(where Where, namespace *v1.Namespace) []report.Finding {
	var findings []report.Finding
	for _, key := range slices.Sorted(maps.Keys(namespace.Annotations)) {
		if !strings.HasPrefix(key, settings.Prefix) {
			continue
		}
		row, known := settings.Lookup(settings.Key(key))
		if !known || row.Support != settings.OnNamespace {
			findings = append(findings, where.finding(report.Warning, checkAnnotation, key, "has no effect on a Namespace",
				"set it on the Service", "metadata", "annotations", key))
			continue
		}
		if row.Key == settings.AllowSharing {
			continue // it has labels
		}
		for id := range strings.SplitSeq(namespace.Annotations[key], ",") {
			if id = strings.TrimSpace(id); id != "" && !vultr.IsID(id) {
				findings = append(findings, where.finding(report.Error, checkAnnotation, key, fmt.Sprintf("%q is not the UUID of a load balancer", id),
					"write the IDs of load balancers, separated by commas", "metadata", "annotations", key))
			}
		}
	}
	return findings
}
