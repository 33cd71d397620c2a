package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// How traffic is made. Each request has a connection of its own, so that each is decided about separately.
const (
	askers      = 2
	askPause    = 100 * time.Millisecond
	askPatience = 10 * time.Second
	// lookPatience is how long a look waits for an answer of which nobody knows yet whether it comes.
	lookPatience = 3 * time.Second
	// askedBefore and askedAfter requests are sent before a change begins, and after it seems to be over.
	askedBefore, askedAfter = 10, 20
)

// asks sends one request and returns what was answered.
type asks = func(ctx context.Context) (string, error)

// traffic is requests that are sent all the time, and what became of them.
type traffic struct {
	stop context.CancelFunc
	done sync.WaitGroup
	// sent has an item for each request that is finished while somebody waits for it.
	sent chan struct{}

	mu       sync.Mutex
	began    time.Time
	answers  map[string]int
	asked    int
	failures []string
}

// startTraffic sends requests until end is called.
func startTraffic(ctx context.Context, ask asks) *traffic {
	ctx, stop := context.WithCancel(ctx)
	t := &traffic{stop: stop, sent: make(chan struct{}), began: time.Now(), answers: map[string]int{}}
	for range askers {
		t.done.Go(func() {
			for ctx.Err() == nil {
				t.ask(ctx, ask)
				select {
				case t.sent <- struct{}{}:
				default: // nobody counts
				}
				select {
				case <-ctx.Done():
				case <-time.After(askPause): // the pace
				}
			}
		})
	}
	return t
}

// ask sends one request, and finishes it also when no other one is to follow.
func (t *traffic) ask(ctx context.Context, ask asks) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askPatience)
	defer cancel()
	began := time.Now()
	answer, err := ask(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	if err != nil {
		t.failures = append(t.failures, fmt.Sprintf("%.1f s after the beginning, after %s: %v", began.Sub(t.began).Seconds(), time.Since(began).Round(time.Millisecond), err))
		return
	}
	t.answers[answer]++
}

// more waits until that many more requests were sent.
func (t *traffic) more(ctx context.Context, requests int) error {
	for range requests {
		select {
		case <-t.sent:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// end ends the traffic. It fails if a request has failed.
func (t *traffic) end() (int, error) {
	t.stop()
	t.done.Wait()
	if len(t.failures) > 0 {
		return t.asked, fmt.Errorf("%d of %d requests failed: %s", len(t.failures), t.asked, strings.Join(t.failures[:min(len(t.failures), 5)], "; "))
	}
	return t.asked, nil
}

// answeredBy returns how many requests were answered so.
func (t *traffic) answeredBy(answer string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answers[answer]
}

// under has traffic before, while and after something is done. No request may fail.
func under(ctx context.Context, ask asks, do func(ctx context.Context, t *traffic) error) (int, error) {
	t := startTraffic(ctx, ask)
	err := t.more(ctx, askedBefore)
	if err == nil {
		err = do(ctx, t)
	}
	if err == nil {
		err = t.more(ctx, askedAfter)
	}
	asked, trafficErr := t.end()
	return asked, errors.Join(err, trafficErr)
}

const (
	greeter = "greeter"
	// graceful is for how long a pod serves on when it is told to end: longer than its load balancer needs to find out.
	graceful = 15
)

// greeterPort are the ports of a greeter.
const (
	greeterPort  = 8080
	greeterUDP   = 8081
	greeterPlain = 8082
)

// greeters makes pods that tell who they are.
func (w *World) greeters(ctx context.Context, replicas int32, args []string, change ...func(*appsv1.Deployment)) error {
	labels := map[string]string{"app": greeter}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: greeter},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: new(int64(graceful + 10)),
					TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
						MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
						LabelSelector: &metav1.LabelSelector{MatchLabels: labels},
					}},
					Containers: []corev1.Container{{
						Name: greeter, Image: cache.GreeterImage, Args: args,
						ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
							HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(greeterPlain)},
						}},
						Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: graceful}}},
					}},
				},
			},
		},
	}
	for _, c := range change {
		c(d)
	}
	_, err := w.Kubernetes.AppsV1().Deployments(w.Namespace).Create(ctx, d, metav1.CreateOptions{})
	return err
}

// balance makes a Service of type LoadBalancer before the greeters, whose nodes are checked often, and waits for its address.
func (w *World) balance(ctx context.Context, ports []corev1.ServicePort, change ...func(*corev1.Service)) (string, error) {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: greeter, Annotations: map[string]string{
			// A machine that is busy with all of this must not look like nodes that fail.
			loadBalancer + "healthcheck-check-interval":      "2",
			loadBalancer + "healthcheck-response-timeout":    "2",
			loadBalancer + "healthcheck-unhealthy-threshold": "3",
			loadBalancer + "healthcheck-healthy-threshold":   "2",
		}},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": greeter}, Ports: ports},
	}
	for _, c := range change {
		c(service)
	}
	if _, err := w.Kubernetes.CoreV1().Services(w.Namespace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	var address string
	err := w.wait(ctx, "the Service has an address", func(ctx context.Context) error {
		now, err := w.Kubernetes.CoreV1().Services(w.Namespace).Get(ctx, greeter, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, ingress := range now.Status.LoadBalancer.Ingress {
			if ingress.IP != "" {
				address = ingress.IP
				return nil
			}
		}
		return errors.New("no address in its status")
	})
	return address, err
}

// loadBalancer begins the annotations of load balancers.
const loadBalancer = "service.beta.kubernetes.io/vultr-loadbalancer-"

// tcpPort is a port of a Service that leads to the greeters' HTTP.
func tcpPort(number int32) corev1.ServicePort {
	return corev1.ServicePort{Name: fmt.Sprintf("p%d", number), Port: number, TargetPort: intstr.FromInt32(greeterPort), Protocol: corev1.ProtocolTCP}
}

// changeService changes the Service before the greeters.
func (w *World) changeService(ctx context.Context, change func(*corev1.Service)) error {
	return w.updateService(ctx, greeter, change)
}

// updateService changes a Service, whatever others change at the same time.
func (w *World) updateService(ctx context.Context, name string, change func(*corev1.Service)) error {
	services := w.Kubernetes.CoreV1().Services(w.Namespace)
	for {
		service, err := services.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(service)
		if _, err = services.Update(ctx, service, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			return err
		}
	}
}

// greeted asks a greeter by HTTP and returns the pod's name.
func (w *World) greeted(address string, port int32) asks {
	return func(ctx context.Context) (string, error) {
		answer, err := w.fetch(ctx, "http://"+net.JoinHostPort(address, fmt.Sprint(port))+"/")
		name, _, _ := strings.Cut(answer, " ")
		return name, err
	}
}

// answers waits until ten requests in a row are answered.
func (w *World) answers(ctx context.Context, what string, ask asks) error {
	return w.wait(ctx, what, func(ctx context.Context) error {
		for range 10 {
			if _, err := look(ctx, ask); err != nil {
				return err
			}
		}
		return nil
	})
}

// look asks without patience: a datagram that is lost is never answered.
func look(ctx context.Context, ask asks) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	return ask(ctx)
}

// behind waits until the load balancer with that address finds these nodes, and no others, fit for traffic.
func (w *World) behind(ctx context.Context, address string, nodes ...string) error {
	return w.wait(ctx, fmt.Sprintf("the load balancer sends traffic to %v alone", nodes), func(ctx context.Context) error {
		instances, err := w.Instances(ctx)
		if err != nil {
			return err
		}
		names := map[string]string{}
		for _, i := range instances {
			names[i.ID] = i.Label
		}
		healthy, err := w.healthyBackends(ctx, address)
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, id := range healthy {
			there[names[id]] = true
		}
		for _, node := range nodes {
			if !there[node] {
				return fmt.Errorf("%s is not among %v", node, there)
			}
		}
		if len(there) != len(nodes) {
			return fmt.Errorf("there are %v", there)
		}
		return nil
	})
}

// healthyBackends returns the instances that a load balancer finds well. The platform's API does not tell; the simulator does.
func (w *World) healthyBackends(ctx context.Context, address string) ([]string, error) {
	var state struct {
		Balancers []struct {
			IPv4     string `json:"ipv4"`
			Backends []struct {
				ID      string `json:"instance_id"`
				Healthy bool   `json:"healthy"`
			} `json:"backends"`
		} `json:"load_balancers"`
	}
	if err := w.Admin.Get(ctx, "/state", &state); err != nil {
		return nil, err
	}
	for _, b := range state.Balancers {
		if b.IPv4 != address {
			continue
		}
		var healthy []string
		for _, backend := range b.Backends {
			if backend.Healthy {
				healthy = append(healthy, backend.ID)
			}
		}
		return healthy, nil
	}
	return nil, fmt.Errorf("no load balancer has the address %s", address)
}

// twoInstances returns the instances of two workers.
func (w *World) twoInstances(ctx context.Context) ([]cluster.CloudInstance, error) {
	nodes, err := w.readyNodes(ctx)
	if err != nil {
		return nil, err
	}
	if len(nodes) < 2 {
		return nil, fmt.Errorf("two nodes are needed, ready are %v", nodes)
	}
	var two []cluster.CloudInstance
	for _, node := range nodes[:2] {
		instance, err := w.instanceOf(ctx, node)
		if err != nil {
			return nil, err
		}
		two = append(two, instance)
	}
	return two, nil
}
