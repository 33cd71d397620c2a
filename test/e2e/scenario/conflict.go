package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// Conflicts are scenarios in which somebody else changes what the CCM works on. They can run beside those of Traffic.
func Conflicts() []Step {
	return []Step{{"a Service is changed while the CCM lets go of it", apartStep("conflict", changedMeanwhile)}}
}

const (
	// balancerFinalizer is the one with which a Service waits for its load balancer's end.
	balancerFinalizer = "service.kubernetes.io/load-balancer-cleanup"
	// foreignFinalizer is of somebody who takes longer.
	foreignFinalizer = "example.com/takes-longer"
	// ccmAccount is the CCM's.
	ccmAccount = "system:serviceaccount:kube-system:vultr-ccm"
)

// changedMeanwhile changes a Service that is deleted whenever the CCM has read it and waits for the cloud. So the CCM takes its
// finalizer off an old version of it: that has to be refused, be done again, and cost nobody else what they wrote.
func changedMeanwhile(ctx context.Context, w *World) (detail string, err error) {
	defer func() { err = errors.Join(err, w.letGo(context.WithoutCancel(ctx))) }()
	address, err := w.balance(ctx, []corev1.ServicePort{tcpPort(80)}, func(s *corev1.Service) { s.Finalizers = []string{foreignFinalizer} })
	if err != nil {
		return "", err
	}
	balancer, err := w.balancerAt(ctx, address)
	if err != nil {
		return "", err
	}
	fault, err := w.AddFault(ctx, cluster.Fault{Operation: "get_load_balancer", Path: balancer.ID + "$", Action: "hold-before"})
	if err != nil {
		return "", err
	}
	if err := w.Kubernetes.CoreV1().Services(w.Namespace).Delete(ctx, greeter, metav1.DeleteOptions{}); err != nil {
		return "", err
	}
	last, err := w.changeWhenHeld(ctx, fault)
	if err != nil {
		return "", err
	}
	left, err := w.Kubernetes.CoreV1().Services(w.Namespace).Get(ctx, greeter, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("the Service has a finalizer of somebody else: %w", err)
	}
	if !slices.Equal(left.Finalizers, []string{foreignFinalizer}) || left.Labels["change"] != last {
		return "", fmt.Errorf("the Service has the finalizers %v and the labels %v; written were %s and change %s", left.Finalizers, left.Labels, foreignFinalizer, last)
	}
	if _, err := w.balancerAt(ctx, address); err == nil {
		return "", errors.New("the finalizer is gone before the load balancer")
	}
	refused, err := w.refusedFor(greeter)
	if err == nil && refused == 0 {
		err = errors.New("the CCM has never met a conflict, so this has shown nothing")
	}
	return fmt.Sprintf("changed %s times; %d writes of the CCM were refused; the other finalizer was left", last, refused), err
}

// changeWhenHeld changes the Service each time that the fault holds a request, until the CCM's finalizer is off. It returns the last
// change.
func (w *World) changeWhenHeld(ctx context.Context, fault string) (last string, err error) {
	changes := 0
	err = w.wait(ctx, "the CCM lets go of the Service", func(ctx context.Context) error {
		held, err := w.Held(ctx, fault)
		if err != nil {
			return err
		}
		if held > 0 {
			changes++
			last = fmt.Sprint(changes)
			if err := w.updateService(ctx, greeter, func(s *corev1.Service) { s.Labels = map[string]string{"change": last} }); err != nil {
				return err
			}
			return errors.Join(w.ReleaseHeld(ctx, fault), errors.New("a look at its load balancer was held"))
		}
		now, err := w.Kubernetes.CoreV1().Services(w.Namespace).Get(ctx, greeter, metav1.GetOptions{})
		if err == nil && slices.Contains(now.Finalizers, balancerFinalizer) {
			err = errors.New("its finalizer is there")
		}
		return err
	})
	return last, err
}

// refusedFor counts the conflicts that the CCM has met when it wrote the status of a Service in the namespace.
func (w *World) refusedFor(name string) (int, error) {
	asked, err := w.asked()
	if err != nil {
		return 0, err
	}
	refused := 0
	for _, c := range asked {
		if c.User == ccmAccount && c.Resource == "services/status" && c.Namespace == w.Namespace && c.Name == name && c.Code == http.StatusConflict {
			refused++
		}
	}
	return refused, nil
}

// letGo ends the fault and takes the foreign finalizer off, which is all that keeps the Service.
func (w *World) letGo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := w.EndFaults(ctx); err != nil {
		return err
	}
	err := w.updateService(ctx, greeter, func(s *corev1.Service) {
		s.Finalizers = slices.DeleteFunc(s.Finalizers, func(name string) bool { return name == foreignFinalizer })
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
