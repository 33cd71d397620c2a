package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// officialHolder begins the identity of the stand-in that holds the lease: see cmd/official.
const officialHolder = "official-"

// officialCCM are the objects of the official cloud controller manager's manifest with the image that this cluster has.
func (w *World) officialCCM() (string, error) {
	content, err := w.officialFile("ccm.yaml")
	return strings.ReplaceAll(string(content), "image: vultr-ccm\n", "image: "+cache.OfficialImage+"\n"), err
}

// officialCCMRuns says what is missing of the official manager.
func (w *World) officialCCMRuns(ctx context.Context) error {
	set, err := w.Kubernetes.AppsV1().DaemonSets(metav1.NamespaceSystem).Get(ctx, ccmName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if s := set.Status; s.DesiredNumberScheduled == 0 || s.NumberReady != s.DesiredNumberScheduled {
		return fmt.Errorf("%d of %d pods of the DaemonSet are ready", s.NumberReady, s.DesiredNumberScheduled)
	}
	holder, err := w.leadingCCM(ctx)
	if err == nil && !strings.HasPrefix(holder, officialHolder) {
		err = fmt.Errorf("the lease %s is held by %q", ccmLease, holder)
	}
	return err
}

// officialBalancer is what the official manager looks at of a load balancer.
type officialBalancer struct {
	ID     string         `json:"id"`
	Label  string         `json:"label"`
	Status string         `json:"status"`
	IPv4   string         `json:"ipv4"`
	Rules  []officialRule `json:"forwarding_rules"`
}

// officialServes does what the official manager does with Services until each has the address of its load balancer.
func (w *World) officialServes(ctx context.Context, names []string) error {
	left := slices.Clone(names)
	return w.wait(ctx, fmt.Sprintf("the official manager has served the Services %v", names), func(ctx context.Context) error {
		var errs []error
		left = slices.DeleteFunc(left, func(name string) bool {
			err := w.officialSyncs(ctx, name)
			if err != nil {
				errs = append(errs, fmt.Errorf("the Service %s: %w", name, err))
			}
			return err == nil
		})
		return errors.Join(errs...)
	})
}

// officialSyncs does with a Service what the official manager does when it starts, or when the Service is new: it makes the load
// balancer, or sends all that it knows to the one that it finds, notes its ID, and publishes its address. While the load balancer is
// not active it fails, and is called again.
func (w *World) officialSyncs(ctx context.Context, name string) error {
	service, err := w.Kubernetes.CoreV1().Services(w.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	order, err := w.officialOrder(ctx, service)
	if err != nil {
		return err
	}
	there, err := w.officialFinds(ctx, service, order.Label)
	if err != nil {
		return err
	}
	if there == nil {
		order.Region = cluster.Region
		var answer struct {
			Made officialBalancer `json:"load_balancer"`
		}
		if err := w.Cloud.Do(ctx, http.MethodPost, "/v2/load-balancers", order, &answer); err != nil {
			return err
		}
		there = &answer.Made
	}
	if err := w.officialNotes(ctx, service, there.ID); err != nil {
		return err
	}
	if there.Status != "active" || there.IPv4 == "" {
		return fmt.Errorf("its load balancer %s is not active yet: %s", there.ID, there.Status)
	}
	if service.Annotations[loadBalancer+"label"] != "" {
		order = order.beside(there.Rules)
	}
	if err := w.Cloud.Do(ctx, http.MethodPatch, "/v2/load-balancers/"+there.ID, order, nil); err != nil {
		return err
	}
	return w.officialPublishes(ctx, name, *there)
}

// officialOrder is what the official manager asks for a Service in this cluster.
func (w *World) officialOrder(ctx context.Context, service *corev1.Service) (officialOrder, error) {
	nodes, err := w.Kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return officialOrder{}, err
	}
	var instances []string
	for i := range nodes.Items {
		instances = append(instances, strings.TrimPrefix(nodes.Items[i].Spec.ProviderID, "vultr://"))
	}
	var certificate *officialSSL
	if name := service.Annotations[loadBalancer+"ssl"]; name != "" {
		secret, err := w.Kubernetes.CoreV1().Secrets(w.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return officialOrder{}, err
		}
		text := func(key string) string { return strings.TrimSpace(string(secret.Data[key])) }
		certificate = &officialSSL{Key: text(corev1.TLSPrivateKeyKey), Certificate: text(corev1.TLSCertKey)}
	}
	return orderOf(service, instances, certificate)
}

// officialFinds finds a Service's load balancer, by the ID in its annotation, else by the label; nil if there is none.
func (w *World) officialFinds(ctx context.Context, service *corev1.Service, label string) (*officialBalancer, error) {
	if id := service.Annotations[loadBalancer+"id"]; id != "" {
		var answer struct {
			Found officialBalancer `json:"load_balancer"`
		}
		err := w.Cloud.Get(ctx, "/v2/load-balancers/"+id, &answer)
		return &answer.Found, err
	}
	var answer struct {
		All []officialBalancer `json:"load_balancers"`
	}
	if err := w.Cloud.Get(ctx, "/v2/load-balancers?per_page=500", &answer); err != nil {
		return nil, err
	}
	for i := range answer.All {
		if answer.All[i].Label == label {
			return &answer.All[i], nil
		}
	}
	return nil, nil
}

// officialNotes writes the ID into the Service, and the finalizer with which it waits for the load balancer's end.
func (w *World) officialNotes(ctx context.Context, service *corev1.Service, id string) error {
	if service.Annotations[loadBalancer+"id"] == id && slices.Contains(service.Finalizers, balancerFinalizer) {
		return nil
	}
	return w.updateService(ctx, service.Name, func(s *corev1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, loadBalancer+"id", id)
		if !slices.Contains(s.Finalizers, balancerFinalizer) {
			s.Finalizers = append(s.Finalizers, balancerFinalizer)
		}
	})
}

// officialPublishes writes the address and the label into one entry of the Service's status.
func (w *World) officialPublishes(ctx context.Context, name string, is officialBalancer) error {
	ingress := []corev1.LoadBalancerIngress{{IP: is.IPv4, Hostname: is.Label}}
	patch, err := json.Marshal(map[string]any{"status": corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: ingress}}})
	if err != nil {
		return err
	}
	_, err = w.Kubernetes.CoreV1().Services(w.Namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
