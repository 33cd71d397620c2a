package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// back goes back to the official CCM under requests to every port. It sends to every load balancer what it knows.
func (s *ccmSwitch) back(ctx context.Context, w *World) (string, error) {
	began := time.Now()
	var names []string
	for _, service := range s.services {
		names = append(names, service.Name)
	}
	asked, err := underAll(ctx, s.requests(w), func(ctx context.Context) error {
		if err := w.goBack(ctx); err != nil {
			return err
		}
		return w.officialServes(ctx, names)
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d requests meanwhile, none failed", asked), s.unchanged(ctx, w, began)
}

// delete deletes a Service of each kind, under requests to the others.
func (s *ccmSwitch) delete(ctx context.Context, w *World) (string, error) {
	if err := s.listed(ctx, w); err != nil {
		return "", err
	}
	began, gone, kept := time.Now(), s.balancers[ofUID], s.balancers[ofOwnLabel]
	asked, err := underAll(ctx, s.requests(w, ofUID, ofOwnLabel), func(ctx context.Context) error {
		if err := w.endWithBalancer(ctx, ofUID, gone.id); err != nil {
			return err
		}
		return w.endService(ctx, ofOwnLabel)
	})
	if err != nil {
		return "", err
	}
	if err := w.says(ctx, ofUID, "DeletedLoadBalancer", "", began); err != nil {
		return "", err
	}
	if err := w.says(ctx, ofOwnLabel, "LoadBalancerKept", kept.id, began); err != nil {
		return "", err
	}
	if at, err := w.balancerAt(ctx, kept.address); err != nil || at.ID != kept.id {
		return "", errors.Join(err, fmt.Errorf("at %s there is the load balancer %q, not %s", kept.address, at.ID, kept.id))
	}
	return fmt.Sprintf("%d requests to the others meanwhile, none failed", asked), nil
}

// listed runs the documented command that lists the Services with a label of their own, with their load balancers' IDs.
func (s *ccmSwitch) listed(ctx context.Context, w *World) error {
	commands, err := w.switchCommands()
	if err != nil {
		return err
	}
	out, err := w.Shell(ctx, commands.list)
	if err != nil {
		return err
	}
	var want []string
	for _, service := range s.services {
		if label := service.Annotations[loadBalancer+"label"]; label != "" {
			want = append(want, strings.Join([]string{w.Namespace, service.Name, label, s.balancers[service.Name].id}, " "))
		}
	}
	var got []string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] != anyNamespace { // the heading has the same word
			got = append(got, strings.Join(fields, " "))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("the documented command lists %q, not %q", got, want)
	}
	return nil
}

// handOver has the load balancers with a label of their own deleted with their Services, as documented: one whose Service is gone
// already and comes again, and one that two Services share.
func (s *ccmSwitch) handOver(ctx context.Context, w *World) (string, error) {
	const deleted = "it will be deleted with the Service"
	commands, err := w.switchCommands()
	if err != nil {
		return "", err
	}
	began, alone, shared := time.Now(), s.balancers[ofOwnLabel], s.balancers[sharing1st]
	given := strings.NewReplacer(anyNamespace, w.Namespace, anyBalancer, alone.id+","+shared.id).Replace(commands.handOver)
	if _, err := w.Shell(ctx, given); err != nil {
		return "", err
	}
	if err := w.says(ctx, sharing1st, "LoadBalancerAdopted", deleted, began); err != nil {
		return "", err
	}
	if err := s.create(ctx, w, []string{ofOwnLabel}); err != nil {
		return "", err
	}
	if err := w.answers(ctx, "the Service that came again answers at its address", w.greeted(alone.address, 80)); err != nil {
		return "", err
	}
	if err := w.says(ctx, ofOwnLabel, "LoadBalancerAdopted", deleted, began); err != nil {
		return "", err
	}
	if err := w.endWithBalancer(ctx, ofOwnLabel, alone.id); err != nil {
		return "", err
	}
	// The second goes on at the address of both.
	asked, err := underAll(ctx, s.requests(w, ofUID, ofOwnLabel, sharing1st), func(ctx context.Context) error {
		return w.endService(ctx, sharing1st)
	})
	if err != nil {
		return "", err
	}
	if now, err := s.look(ctx, w); err != nil || now[sharing2nd] != s.balancers[sharing2nd] {
		return "", errors.Join(err, fmt.Errorf("the Service %s had %+v and has %+v", sharing2nd, s.balancers[sharing2nd], now[sharing2nd]))
	}
	if err := w.endWithBalancer(ctx, sharing2nd, shared.id); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d requests to the others meanwhile, none failed", asked), w.warnsOfNothing(ctx, began)
}

// endService deletes a Service and waits until it is gone.
func (w *World) endService(ctx context.Context, name string) error {
	services := w.Kubernetes.CoreV1().Services(w.Namespace)
	if err := services.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return w.wait(ctx, "the Service "+name+" is gone", func(ctx context.Context) error {
		now, err := services.Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("it has the finalizers %v", now.Finalizers)
		}
		return ignoreMissing(err)
	})
}

// endWithBalancer deletes a Service and waits until the cloud has its load balancer no more.
func (w *World) endWithBalancer(ctx context.Context, name, id string) error {
	if err := w.endService(ctx, name); err != nil {
		return err
	}
	return w.wait(ctx, "the load balancer "+id+" is gone", func(ctx context.Context) error {
		err := w.Cloud.Get(ctx, "/v2/load-balancers/"+id, nil)
		status, answered := errors.AsType[*cluster.StatusError](err)
		switch {
		case answered && status.Status == http.StatusNotFound:
			return nil
		case err != nil:
			return err
		}
		return errors.New("it is there")
	})
}
