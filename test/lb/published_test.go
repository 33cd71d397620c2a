package lb

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// publication is a file of testdata/published: a Service, and what it names.
type publication struct {
	file    string
	service *v1.Service
	// warns are what the only Warnings are about that its owner gets.
	warns []string
}

// TestPublished: Services as people publish them have their load balancers without a change, and no Warning but those that
// the file says. Nothing is written when they have them, also by another process, and nothing is left of them in the end.
func TestPublished(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "published", "*.yaml"))
	if err != nil || len(files) != 20 {
		t.Fatalf("there are %d files, error %v", len(files), err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect()
		w.host("example.net")
		w.start()
		var all []*publication
		for _, file := range files {
			all = append(all, w.publish(file))
		}
		w.until(10*time.Minute, func() bool {
			return !slices.ContainsFunc(all, func(p *publication) bool { return w.lacks(p) != "" })
		})
		for _, p := range all {
			if text := w.lacks(p); text != "" {
				t.Errorf("%s: %s; %q", p.file, text, w.about(p))
			}
			for _, event := range w.about(p) {
				expected := slices.ContainsFunc(p.warns, func(what string) bool { return strings.Contains(event, what) })
				if strings.Contains(event, v1.EventTypeWarning) && !expected {
					t.Errorf("%s: unexpected: %s", p.file, event)
				}
			}
			for _, what := range p.warns {
				if !slices.ContainsFunc(w.about(p), func(event string) bool { return strings.Contains(event, what) }) {
					t.Errorf("%s: nobody is told about %s", p.file, what)
				}
			}
		}
		w.pass(restAfter)
		w.lead.stop()
		w.start()
		w.pass(time.Minute)
		if text := w.busy(2*driftPeriod + time.Minute); text != "" {
			t.Error(text)
		}
		if left := w.empty(); len(left) > 0 {
			t.Errorf("when all Services are deleted: %q", left)
		}
	})
}

// connect puts the nodes into one VPC.
func (w *world) connect() {
	w.Helper()
	w.operate(http.MethodPost, "/v2/vpcs", `{"region":"`+region+`"}`)
	vpc := w.cloud.Sim.View().VPCs[0].ID
	for _, instance := range w.backends() {
		w.operate(http.MethodPost, "/v2/instances/"+instance+"/vpcs/attach", `{"vpc_id":"`+vpc+`"}`)
	}
	w.pass(2 * time.Minute) // it restarts them
}

// publish applies a file, with what the API server adds and with the certificate that the Service names.
func (w *world) publish(file string) *publication {
	w.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		w.Fatal(err)
	}
	p := &publication{file: filepath.Base(file)}
	for line := range strings.Lines(string(content)) {
		if what, ok := strings.CutPrefix(line, "# Warns: "); ok {
			p.warns = append(p.warns, strings.TrimSpace(what))
		}
	}
	for document := range bytes.SplitSeq(content, []byte("\n---\n")) {
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(document, nil, nil)
		if err != nil {
			w.Fatalf("%s: %v", file, err)
		}
		switch object := object.(type) {
		case *v1.Service:
			p.service = object
		case *v1.ConfigMap:
			w.have(object.Namespace)
			_, err = w.user.CoreV1().ConfigMaps(object.Namespace).Create(w.Context(), object, metav1.CreateOptions{})
		case *v1.Secret:
			object.Data = map[string][]byte{}
			for key, text := range object.StringData {
				object.Data[key] = []byte(text)
			}
			w.have(object.Namespace)
			_, err = w.user.CoreV1().Secrets(object.Namespace).Create(w.Context(), object, metav1.CreateOptions{})
		default:
			w.Fatalf("%s: what is a %T for?", file, object)
		}
		if err != nil {
			w.Fatalf("%s: %v", file, err)
		}
	}
	w.complete(p)
	return p
}

// complete adds what the API server adds to a Service, and the certificate that it names, and creates it.
func (w *world) complete(p *publication) {
	w.Helper()
	s := p.service
	if s.Namespace == "" {
		s.Namespace = metav1.NamespaceDefault
	}
	w.have(s.Namespace)
	for i := range s.Spec.Ports {
		port := &s.Spec.Ports[i]
		port.NodePort = w.nodePort()
		if port.Protocol == "" {
			port.Protocol = v1.ProtocolTCP
		}
	}
	if s.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal {
		s.Spec.HealthCheckNodePort = w.nodePort()
	}
	if name := s.Annotations[string(settings.SSL)]; name != "" {
		content, err := newCertificate(time.Now().Add(90 * 24 * time.Hour))
		if err != nil {
			w.Fatal(err)
		}
		object := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}, Type: v1.SecretTypeTLS, Data: content}
		if _, err := w.user.CoreV1().Secrets(s.Namespace).Create(w.Context(), object, metav1.CreateOptions{}); err != nil {
			w.Fatal(err)
		}
	}
	var err error
	if p.service, err = w.user.CoreV1().Services(s.Namespace).Create(w.Context(), s, metav1.CreateOptions{}); err != nil {
		w.Fatalf("%s: %v", p.file, err)
	}
}

// have makes a namespace, if there is none.
func (w *world) have(name string) {
	w.Helper()
	_, err := w.user.CoreV1().Namespaces().Create(w.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		w.Fatal(err)
	}
}

// about returns the Events about a Service.
func (w *world) about(p *publication) []string { return strings.Split(w.eventsOf(p.service), "\n") }

// lacks says what a Service has not got yet, "" for nothing.
func (w *world) lacks(p *publication) string {
	now, err := w.user.CoreV1().Services(p.service.Namespace).Get(w.Context(), p.service.Name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	id := w.entries()[now.UID].ID
	for _, lb := range w.cloud.Sim.View().LoadBalancers {
		if lb.ID != id {
			continue
		}
		ingress, hostname := now.Status.LoadBalancer.Ingress, now.Annotations[string(settings.Hostname)]
		switch {
		case len(ingress) != 1 || hostname == "" && ingress[0].IP != lb.IPv4 || hostname != "" && ingress[0].Hostname != hostname:
			return fmt.Sprintf("its status is %+v, the address %q", ingress, lb.IPv4)
		case len(lb.Ports) != len(now.Spec.Ports) || !slices.Equal(lb.Instances, w.backends()):
			return fmt.Sprintf("its load balancer has the ports %v and the backends %v", lb.Ports, lb.Instances)
		}
		return ""
	}
	return "it has no load balancer"
}
