package scenario

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// What the official cloud controller manager (v0.18) asks of the platform for a Service: all that it knows, each time and whatever
// there is, but for empty lists, which its client library leaves out. It is written from what that one was seen to send. What users
// of it have is in official/services.yaml, and what it sends for that in official/orders.json, by which the controller's own tests
// go on: see pkg/cloud/servicelb.
type officialOrder struct {
	Region        string           `json:"region,omitempty"` // of a new one
	Label         string           `json:"label"`
	Instances     []string         `json:"instances,omitempty"`
	HealthCheck   officialCheck    `json:"health_check"`
	Sticky        officialSticky   `json:"sticky_session"`
	Rules         []officialRule   `json:"forwarding_rules,omitempty"`
	SSL           *officialSSL     `json:"ssl,omitempty"`
	SSLRedirect   bool             `json:"ssl_redirect"`
	HTTP2         bool             `json:"http2"`
	HTTP3         bool             `json:"http3"`
	ProxyProtocol bool             `json:"proxy_protocol"`
	Algorithm     string           `json:"balancing_algorithm"`
	Firewall      []officialSource `json:"firewall_rules,omitempty"`
	Timeout       int              `json:"timeout"`
	VPC           string           `json:"vpc"`
	Nodes         int              `json:"nodes"`
}

type officialCheck struct {
	Protocol  string `json:"protocol"`
	Port      int32  `json:"port"`
	Path      string `json:"path,omitempty"`
	Interval  int    `json:"check_interval"`
	Timeout   int    `json:"response_timeout"`
	Unhealthy int    `json:"unhealthy_threshold"`
	Healthy   int    `json:"healthy_threshold"`
}

type officialSticky struct {
	Cookie string `json:"cookie_name,omitempty"`
}

type officialRule struct {
	FrontendProtocol string `json:"frontend_protocol"`
	FrontendPort     int32  `json:"frontend_port"`
	BackendProtocol  string `json:"backend_protocol"`
	BackendPort      int32  `json:"backend_port"`
}

type officialSSL struct {
	Key         string `json:"private_key"`
	Certificate string `json:"certificate"`
}

type officialSource struct {
	Port   int    `json:"port"`
	Source string `json:"source"`
	IPType string `json:"ip_type"`
}

// orderOf is what it asks for a Service. An annotation that is not among those here is an error, and not left out.
func orderOf(service *corev1.Service, instances []string, certificate *officialSSL) (officialOrder, error) {
	r := &officialReader{annotations: service.Annotations, known: map[string]bool{"id": true, "label": true, "ssl": true}}
	order := officialOrder{
		Label: officialLabel(service), Instances: instances, SSL: certificate,
		HealthCheck: r.healthCheck(service), Rules: r.rules(service), Firewall: r.firewall(),
		SSLRedirect: r.on("ssl-redirect"), HTTP2: r.on("http2"), HTTP3: r.on("http3"), ProxyProtocol: r.on("proxy-protocol"),
		Algorithm: "roundrobin", Timeout: r.number("timeout", 600), Nodes: r.number("node-count", 1),
	}
	if r.text("algorithm") == "least_connections" {
		order.Algorithm = "leastconn"
	}
	if cookie := r.text("sticky-session-cookie-name"); r.text("sticky-session-enabled") == "on" {
		order.Sticky.Cookie = cookie
	}
	return order, r.done()
}

// beside adds the rules of other Services with the same label to an order: those that the load balancer has for further ports.
func (o officialOrder) beside(there []officialRule) officialOrder {
	own := o.Rules
	o.Rules = slices.Clone(own)
	for _, rule := range there {
		if !slices.ContainsFunc(own, func(r officialRule) bool { return r.FrontendPort == rule.FrontendPort }) {
			o.Rules = append(o.Rules, rule)
		}
	}
	return o
}

// officialLabel is how it calls the load balancer of a Service: by the annotation, else as Kubernetes' own library does.
func officialLabel(service *corev1.Service) string {
	if label := service.Annotations[loadBalancer+"label"]; label != "" {
		return label
	}
	name := "a" + strings.ReplaceAll(string(service.UID), "-", "")
	return name[:min(len(name), 32)]
}

// officialReader reads annotations.
type officialReader struct {
	annotations map[string]string
	known       map[string]bool
	errs        []error
}

func (r *officialReader) text(name string) string {
	r.known[name] = true
	return r.annotations[loadBalancer+name]
}

func (r *officialReader) on(name string) bool { return r.text(name) == "true" }

func (r *officialReader) number(name string, otherwise int) int {
	text := r.text(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	r.fail(err)
	return n
}

func (r *officialReader) fail(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// done says what was wrong, and what nobody has read.
func (r *officialReader) done() error {
	for name := range r.annotations {
		if key, ours := strings.CutPrefix(name, loadBalancer); ours && !r.known[key] {
			r.fail(fmt.Errorf("what the official manager makes of the annotation %s is not known here", name))
		}
	}
	return errors.Join(r.errs...)
}

// healthCheck asks the first port's node port, whatever the policy is.
func (r *officialReader) healthCheck(service *corev1.Service) officialCheck {
	check := officialCheck{
		Protocol: r.text("healthcheck-protocol"), Path: r.text("healthcheck-path"), Port: service.Spec.Ports[0].NodePort,
		Interval: r.number("healthcheck-check-interval", 15), Timeout: r.number("healthcheck-response-timeout", 5),
		Unhealthy: r.number("healthcheck-unhealthy-threshold", 5), Healthy: r.number("healthcheck-healthy-threshold", 5),
	}
	switch {
	case check.Protocol != "":
	case check.Path != "":
		check.Protocol = "http"
	default:
		check.Protocol = "tcp"
	}
	return check
}

// rules forwards each port to its node port. Between tcp and anything else there is nothing to choose.
func (r *officialReader) rules(service *corev1.Service) []officialRule {
	protocol, backend, https := cmp.Or(r.text("protocol"), "tcp"), r.text("backend-protocol"), strings.Split(r.text("https-ports"), ",")
	var rules []officialRule
	for _, port := range service.Spec.Ports {
		front := protocol
		if slices.Contains(https, fmt.Sprint(port.Port)) {
			front = "https"
		}
		back := front
		if front != "tcp" && (backend == "http" || backend == "https") {
			back = backend
		}
		rules = append(rules, officialRule{FrontendProtocol: front, FrontendPort: port.Port, BackendProtocol: back, BackendPort: port.NodePort})
	}
	return rules
}

// firewall reads "203.0.113.0/24,80;cloudflare,443".
func (r *officialReader) firewall() []officialSource {
	text := r.text("firewall-rules")
	if text == "" {
		return nil
	}
	var sources []officialSource
	for part := range strings.SplitSeq(text, ";") {
		source, number, _ := strings.Cut(part, ",")
		port, err := strconv.Atoi(number)
		r.fail(err)
		family := "v4"
		if source != "cloudflare" {
			prefix, err := netip.ParsePrefix(source)
			r.fail(err)
			if prefix.Addr().Is6() {
				family = "v6"
			}
		}
		sources = append(sources, officialSource{Port: port, Source: source, IPType: family})
	}
	return sources
}

// officialFile is a file of official/.
func (w *World) officialFile(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(w.Source, "test", "e2e", "official", name))
}

// officialServices are the Services that users of the official manager have.
func (w *World) officialServices() ([]*corev1.Service, error) {
	content, err := w.officialFile("services.yaml")
	if err != nil {
		return nil, err
	}
	var services []*corev1.Service
	for document := range bytes.SplitSeq(content, []byte("\n---\n")) {
		service := &corev1.Service{}
		if err := yaml.UnmarshalStrict(document, service); err != nil {
			return nil, fmt.Errorf("official/services.yaml: %w", err)
		}
		services = append(services, service)
	}
	return services, nil
}
