package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/box"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/nameserver"
)

// NamesCommand is the argument by which the cluster command becomes a run's nameserver; the run's directory follows.
const NamesCommand = "nameserver"

const (
	clusterDomain = "cluster.local"
	namesService  = "kube-dns"
	namesPort     = 53
)

// namesAddress is where the nameserver listens.
var namesAddress = net.JoinHostPort(hostAddress, fmt.Sprint(namesPort))

// Names answers for the names of a run's Services until it is killed with the run.
func Names(ctx context.Context, runDir string) error {
	r, _, err := openRun(runDir)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", r.path("pki", "admin.kubeconfig"))
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 50, 100
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	var listen net.ListenConfig
	datagrams, err := listen.ListenPacket(ctx, "udp", namesAddress)
	if err != nil {
		return err
	}
	streams, err := listen.Listen(ctx, "tcp", namesAddress)
	if err != nil {
		return errors.Join(err, datagrams.Close())
	}
	server := &nameserver.Server{Domain: clusterDomain, Lookup: func(ctx context.Context, namespace, name string) ([]netip.Addr, error) {
		service, err := client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nameserver.ErrUnknown
		}
		if err != nil {
			return nil, err
		}
		return addressesOf(service), nil
	}}
	return server.Serve(ctx, datagrams, streams)
}

// addressesOf are a Service's own addresses. A headless one has the word None in their place.
func addressesOf(service *corev1.Service) []netip.Addr {
	var addresses []netip.Addr
	for _, text := range service.Spec.ClusterIPs {
		if address, err := netip.ParseAddr(text); err == nil {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// ReadyForServices gives the cluster what Kubernetes' own tests of Services expect of the world around it: names of Services, and
// addresses of load balancers that answer nothing but are somewhere while there is no such load balancer. It may be called again.
func (c *Cluster) ReadyForServices(ctx context.Context) error {
	// Without a route a client would fail before it has sent anything, which does not tell the tests that nobody answers.
	if _, err := c.outer.Run(ctx, "ip", "route", "replace", "local", balancerRange, "dev", "lo"); err != nil {
		return err
	}
	if err := c.startNames(ctx); err != nil {
		return err
	}
	if err := c.publishNames(ctx); err != nil {
		return err
	}
	return c.Eventually(ctx, "the nameserver knows the apiserver's Service", time.Minute, c.namesAnswer)
}

// startNames starts the nameserver unless it runs.
func (c *Cluster) startNames(ctx context.Context) error {
	programs, err := c.outer.Programs(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(programs, func(p box.Status) bool { return p.Name == NamesCommand && p.Running }) {
		return nil
	}
	return c.startProgram(ctx, NamesCommand, c.run.path("bin", "cluster"), NamesCommand, c.run.Dir)
}

// publishNames puts the nameserver behind the address that kubelets tell pods.
func (c *Cluster) publishNames(ctx context.Context) error {
	service, endpoints := namesObjects()
	_, err := c.Kubernetes.CoreV1().Services(service.Namespace).Create(ctx, service, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	_, err = c.Kubernetes.DiscoveryV1().EndpointSlices(endpoints.Namespace).Create(ctx, endpoints, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// namesObjects are the Service of the nameserver and where it is: outside, so that nothing selects it.
func namesObjects() (*corev1.Service, *discoveryv1.EndpointSlice) {
	meta := metav1.ObjectMeta{Name: namesService, Namespace: metav1.NamespaceSystem}
	service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{ClusterIP: dnsAddress}}
	endpoints := &discoveryv1.EndpointSlice{
		ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{hostAddress}}},
	}
	endpoints.Labels = map[string]string{discoveryv1.LabelServiceName: namesService}
	for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
		name := map[corev1.Protocol]string{corev1.ProtocolUDP: "dns", corev1.ProtocolTCP: "dns-tcp"}[protocol]
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: name, Protocol: protocol, Port: namesPort})
		endpoints.Ports = append(endpoints.Ports, discoveryv1.EndpointPort{
			Name: new(name), Protocol: new(protocol), Port: new(int32(namesPort)),
		})
	}
	return service, endpoints
}

// namesAnswer asks the nameserver, by a stream: the agent of the box would not keep datagrams apart.
func (c *Cluster) namesAnswer(ctx context.Context) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return c.Dial(ctx, "tcp", namesAddress)
	}}
	_, err := resolver.LookupNetIP(ctx, "ip4", "kubernetes.default.svc."+clusterDomain+".")
	return err
}
