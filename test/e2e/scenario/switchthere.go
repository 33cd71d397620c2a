package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// forward runs the documented commands for the first time.
func (s *ccmSwitch) forward(ctx context.Context, w *World) (string, error) {
	detail, began, err := s.takeOver(ctx, w)
	if err != nil {
		return "", err
	}
	// Those with a label of their own are not proven to be the Services', and of the two that share one the elder is told.
	told := []string{ofOwnLabel, sharing1st}
	if err := s.saidOfAdopted(ctx, w, began, told); err != nil {
		return "", err
	}
	if err := s.toldBefore(ctx, w, began, told); err != nil {
		return "", err
	}
	return detail, w.checkedAt(ctx, s.balancers[ofOwnLabel].id, healthz)
}

// again runs them when this project's CCM knows every load balancer from before: nothing has to be told of.
func (s *ccmSwitch) again(ctx context.Context, w *World) (string, error) {
	detail, began, err := s.takeOver(ctx, w)
	if err != nil {
		return "", err
	}
	if err := s.toldBefore(ctx, w, began, nil); err != nil {
		return "", err
	}
	return detail, w.checkedAt(ctx, s.balancers[ofOwnLabel].id, healthz)
}

// takeOver runs the documented commands under requests to every port, until this project's CCM has dealt with every Service.
func (s *ccmSwitch) takeOver(ctx context.Context, w *World) (detail string, began time.Time, err error) {
	commands, err := w.switchCommands()
	if err != nil {
		return "", began, err
	}
	began = time.Now()
	var works, done time.Duration
	asked, err := underAll(ctx, s.requests(w), func(ctx context.Context) error {
		if _, err := w.Shell(ctx, commands.forward); err != nil {
			return err
		}
		if err := w.wait(ctx, "this project's CCM works", w.ccmWorks); err != nil {
			return err
		}
		works = time.Since(began)
		for _, service := range s.services {
			if err := w.says(ctx, service.Name, "EnsuredLoadBalancer", "", began); err != nil {
				return err
			}
		}
		done = time.Since(began)
		return nil
	})
	if err != nil {
		return "", began, err
	}
	if err := errors.Join(s.unchanged(ctx, w, began), w.warnsOfNothing(ctx, began)); err != nil {
		return "", began, err
	}
	return fmt.Sprintf("%d requests meanwhile, none failed; it works after %.0f s, every Service is dealt with after %.0f s", asked, works.Seconds(), done.Seconds()), began, nil
}

// ccmComponent is the name under which this project's CCM makes Events. Kubernetes' own controllers make some of Services, too.
const ccmComponent = "vultr-cloud-controller-manager"

// said is one Event about a Service.
type said struct {
	service, kind, reason, message string
	at                             time.Time // in whole seconds
}

// saidSince are the Events of this project's CCM about Services since then.
func (w *World) saidSince(ctx context.Context, since time.Time) ([]said, error) {
	list, err := w.Kubernetes.CoreV1().Events(w.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Service"})
	if err != nil {
		return nil, err
	}
	return saidOf(list.Items, since), nil
}

// saidOf are those of Events that this project's CCM has made since then, the oldest first.
func saidOf(events []corev1.Event, since time.Time) []said {
	var all []said
	for i := range events {
		e := &events[i]
		if e.Source.Component == ccmComponent && !e.LastTimestamp.Time.Before(since.Truncate(time.Second)) {
			all = append(all, said{e.InvolvedObject.Name, e.Type, e.Reason, e.Message, e.LastTimestamp.Time})
		}
	}
	slices.SortStableFunc(all, func(a, b said) int { return a.at.Compare(b.at) })
	return all
}

// says waits for an Event about a Service since then, with a text in it.
func (w *World) says(ctx context.Context, service, reason, text string, since time.Time) error {
	return w.wait(ctx, fmt.Sprintf("an Event says %s of the Service %s, with %q", reason, service, text), func(ctx context.Context) error {
		all, err := w.saidSince(ctx, since)
		if err != nil {
			return err
		}
		var about []string
		for _, e := range all {
			if e.service != service {
				continue
			}
			if e.reason == reason && strings.Contains(e.message, text) {
				return nil
			}
			about = append(about, e.reason+": "+e.message)
		}
		return fmt.Errorf("its Events are %q", about)
	})
}

// warnsOfNothing finds fault with what Events have warned of since then.
func (w *World) warnsOfNothing(ctx context.Context, since time.Time) error {
	all, err := w.saidSince(ctx, since)
	if err != nil {
		return err
	}
	return warnings(all)
}

// warnings are those of Events, but that the younger one of those that share a load balancer does not get all that it states.
func warnings(all []said) error {
	var errs []error
	for _, e := range all {
		if e.kind != corev1.EventTypeNormal && (e.service != sharing2nd || e.reason != "LoadBalancerSharedSetting") {
			errs = append(errs, fmt.Errorf("an Event warns of the Service %s: %s: %s", e.service, e.reason, e.message))
		}
	}
	return errors.Join(errs...)
}

// saidOfAdopted waits until Events have said of the Services with a label of their own that the load balancer is taken over and will
// be kept, and of the one that shares it with an elder one that it does, and what it states in vain.
func (s *ccmSwitch) saidOfAdopted(ctx context.Context, w *World, since time.Time, names []string) error {
	for _, name := range names {
		if err := w.says(ctx, name, "LoadBalancerAdopted", "it will be kept when the Service goes", since); err != nil {
			return err
		}
	}
	if err := w.says(ctx, sharing2nd, "LoadBalancerShared", s.balancers[sharing1st].id, since); err != nil {
		return err
	}
	err := w.says(ctx, sharing2nd, "LoadBalancerSharedSetting", "algorithm", since)
	return err
}

// toldBefore says of which Services it was told too late what changes, or not at all, or without need.
func (s *ccmSwitch) toldBefore(ctx context.Context, w *World, since time.Time, names []string) error {
	all, err := w.saidSince(ctx, since)
	if err != nil {
		return err
	}
	told := map[string]time.Time{}
	for _, e := range all {
		if _, before := told[e.service]; !before && e.reason == "LoadBalancerWouldChange" {
			told[e.service] = e.at
		}
	}
	changed, err := w.changesSince(ctx, since)
	if err != nil {
		return err
	}
	for name, b := range s.balancers {
		at, was := told[name]
		switch changes := changed[b.id]; {
		case was != slices.Contains(names, name):
			err = errors.Join(err, fmt.Errorf("whether an Event says what would change at the load balancer of the Service %s: %t", name, was))
		case was && len(changes) == 0:
			err = errors.Join(err, fmt.Errorf("the load balancer of the Service %s was not changed, though an Event says so", name))
		case was && changes[0].Before(at.Add(toldBefore)):
			err = errors.Join(err, fmt.Errorf("the load balancer of the Service %s was changed %s after it was told", name, changes[0].Sub(at)))
		}
	}
	return err
}

// changesSince is when this project's CCM has changed load balancers, by their IDs, the earliest first.
func (w *World) changesSince(ctx context.Context, since time.Time) (map[string][]time.Time, error) {
	var entries []struct {
		Began     time.Time `json:"began"`
		Operation string    `json:"operation"`
		Path      string    `json:"path"`
		UserAgent string    `json:"user_agent"`
	}
	if err := w.Admin.Get(ctx, "/requests?n=10000", &entries); err != nil {
		return nil, err
	}
	changes := map[string][]time.Time{}
	for _, e := range entries {
		if id, there := strings.CutPrefix(e.Path, "/v2/load-balancers/"); there && e.Operation == "update_load_balancer" && !e.Began.Before(since) && strings.Contains(e.UserAgent, "ccm") {
			changes[id] = append(changes[id], e.Began)
		}
	}
	return changes, nil
}

// checkedAt waits until a load balancer checks its nodes by http at a path.
func (w *World) checkedAt(ctx context.Context, id, path string) error {
	return w.wait(ctx, "the load balancer "+id+" checks its nodes at "+path, func(ctx context.Context) error {
		var answer struct {
			Found struct {
				HealthCheck officialCheck `json:"health_check"`
			} `json:"load_balancer"`
		}
		err := w.Cloud.Get(ctx, "/v2/load-balancers/"+id, &answer)
		if is := answer.Found.HealthCheck; err == nil && (is.Protocol != "http" || is.Path != path) {
			err = fmt.Errorf("its check is %+v", is)
		}
		return err
	})
}

// act changes Services and a node under requests, and waits until their load balancers have followed.
func (s *ccmSwitch) act(ctx context.Context, w *World) (string, error) {
	two, err := w.twoInstances(ctx)
	if err != nil {
		return "", err
	}
	began, changed, followed := time.Now(), s.balancers[ofUID], s.balancers[withCookie]
	asked, err := underAll(ctx, s.requests(w), func(ctx context.Context) error {
		if err := w.updateService(ctx, ofUID, func(service *corev1.Service) { service.Spec.Ports = append(service.Spec.Ports, tcpPort(addedPort)) }); err != nil {
			return err
		}
		if err := w.answers(ctx, "the port that was added answers", w.greeted(changed.address, addedPort)); err != nil {
			return err
		}
		err := w.updateService(ctx, ofUID, func(service *corev1.Service) {
			service.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		})
		if err != nil {
			return err
		}
		if err := w.checkedAt(ctx, changed.id, healthz); err != nil {
			return err
		}
		if err := w.exclude(ctx, two[1].Label, true); err != nil {
			return err
		}
		if err := w.behind(ctx, followed.address, two[0].Label); err != nil {
			return err
		}
		if err := w.exclude(ctx, two[1].Label, false); err != nil {
			return err
		}
		return w.behind(ctx, followed.address, two[0].Label, two[1].Label)
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d requests meanwhile, none failed", asked), s.unchanged(ctx, w, began)
}

// exclude takes a node out of all load balancers, or lets it be in them again.
func (w *World) exclude(ctx context.Context, node string, out bool) error {
	value := "null"
	if out {
		value = `"true"`
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, corev1.LabelNodeExcludeBalancers, value)
	if _, err := w.Kubernetes.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("node %s: %w", node, err)
	}
	return nil
}
