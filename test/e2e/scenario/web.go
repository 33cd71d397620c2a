package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

const web = "web"

// webAnswers puts two pods behind a Service of type LoadBalancer and sends
// requests to the address in its status until both pods have answered.
func webAnswers(ctx context.Context, w *World) (string, error) {
	if err := CreateWeb(ctx, w.Kubernetes, w.Namespace); err != nil {
		return "", err
	}
	address, err := w.balancerAddress(ctx)
	if err != nil {
		return "", err
	}
	if err := w.allInstancesBehind(ctx, address); err != nil {
		return "", err
	}
	err = w.wait(ctx, "both pods answer at "+address, func(ctx context.Context) error { return w.bothAnswer(ctx, address) })
	return "both pods answer at http://" + address + "/", err
}

// CreateWeb makes two web pods and a Service of type LoadBalancer before them.
func CreateWeb(ctx context.Context, client kubernetes.Interface, namespace string) error {
	if _, err := client.AppsV1().Deployments(namespace).Create(ctx, webDeployment(), metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := client.CoreV1().Services(namespace).Create(ctx, balancedService(web), metav1.CreateOptions{})
	return err
}

func webDeployment() *appsv1.Deployment {
	labels := map[string]string{"app": web}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: web},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(2)),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: new(int64(1)),
					TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
						MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
						LabelSelector: &metav1.LabelSelector{MatchLabels: labels},
					}},
					Containers: []corev1.Container{{
						Name: web, Image: cache.AgnhostImage, Args: []string{"netexec", "--http-port=8080"},
						ReadinessProbe: httpProbe("/hostname"),
					}},
				},
			},
		},
	}
}

func httpProbe(path string) *corev1.Probe {
	return &corev1.Probe{
		PeriodSeconds: 1,
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(8080)}},
	}
}

func balancedService(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": name},
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

// balancerAddress waits for the address in the Service's status.
func (w *World) balancerAddress(ctx context.Context) (string, error) {
	var address string
	err := w.wait(ctx, "the Service "+web+" has an address", func(ctx context.Context) error {
		service, err := w.Kubernetes.CoreV1().Services(w.Namespace).Get(ctx, web, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			if ingress.IP != "" {
				address = ingress.IP
				return nil
			}
		}
		return errors.New("no address in its status")
	})
	return address, err
}

// allInstancesBehind checks that the load balancer has every living instance as backend, and no other.
func (w *World) allInstancesBehind(ctx context.Context, address string) error {
	return w.wait(ctx, "every instance is behind the load balancer", func(ctx context.Context) error {
		balancer, err := w.balancerAt(ctx, address)
		if err != nil {
			return err
		}
		instances, err := w.Instances(ctx)
		if err != nil {
			return err
		}
		var want []string
		for _, i := range instances {
			want = append(want, i.ID)
		}
		slices.Sort(want)
		if have := slices.Sorted(slices.Values(balancer.Instances)); !slices.Equal(have, want) {
			return fmt.Errorf("backends %v, instances %v", have, want)
		}
		return nil
	})
}

// balancerAt finds the one load balancer with that address.
func (w *World) balancerAt(ctx context.Context, address string) (cluster.CloudBalancer, error) {
	balancers, err := w.Cloud.Balancers(ctx)
	if err != nil {
		return cluster.CloudBalancer{}, err
	}
	for _, b := range balancers {
		if b.IPv4 == address {
			return b, nil
		}
	}
	return cluster.CloudBalancer{}, fmt.Errorf("no load balancer in the cloud has the address %s", address)
}

// bothAnswer sends requests until two different pods have answered.
func (w *World) bothAnswer(ctx context.Context, address string) error {
	seen := map[string]bool{}
	for range 20 {
		name, err := w.fetch(ctx, "http://"+address+"/hostname")
		if err != nil {
			return err
		}
		if seen[name] = true; len(seen) == 2 {
			return nil
		}
	}
	return fmt.Errorf("20 requests were answered by %d pod(s)", len(seen))
}

// fetch reads a page from inside the cluster's network.
func (w *World) fetch(ctx context.Context, url string) (string, error) {
	return w.send(ctx, http.MethodGet, url, "")
}

func (w *World) send(ctx context.Context, method, url, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	return w.sendBy(w.HTTP(), request)
}

func (*World) sendBy(client *http.Client, request *http.Request) (string, error) {
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode/100 != 2 {
		return "", fmt.Errorf("%s %s: %s: %s", request.Method, request.URL, response.Status, content)
	}
	return string(content), nil
}
