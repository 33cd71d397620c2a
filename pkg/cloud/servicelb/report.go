package servicelb

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// report writes the address into the Service's status, or waits until there is one.
func (c *Controller) report(ctx context.Context, s *scene, lb vultr.LoadBalancer, want plan.Desired) error {
	m := s.memory
	status, ready := plan.Status(lb, s.service, want, c.LabelInStatus)
	if !ready {
		return c.pending(s, lb)
	}
	if s.shared() {
		plan.MarkPorts(status, s.service, want.Rules)
	}
	if !m.pendingSince.IsZero() {
		c.pace.took(m.pendingAge, time.Since(m.pendingSince))
		m.pendingSince, m.pendingAge = time.Time{}, 0
	}
	m.busySince = time.Time{}
	m.news(aboutLateness, "")
	c.tellFamilies(s, want, status)
	if err := c.publish(ctx, s.service, m, status); err != nil {
		return err
	}
	s.reported = true
	entry := s.entry
	entry.Address = firstAddress(status)
	if old := s.entry.Address; old != "" && entry.Address != "" && old != entry.Address {
		c.Recorder.Eventf(s.service, v1.EventTypeWarning, reason.LoadBalancerAddressChanged,
			"The address of the load balancer was %s and is %s now", old, entry.Address)
	}
	if err := c.write(ctx, s, entry); err != nil {
		return err
	}
	if m.ensuring && s.faults == nil {
		m.ensuring = false
		c.Recorder.Event(s.service, v1.EventTypeNormal, reason.EnsuredLoadBalancer, "Ensured load balancer")
	}
	return nil
}

// familyPatience is how long the address of the second family may come later than the first one.
const familyPatience = time.Minute

// tellFamilies makes an Event if a Service requires two families and its load balancer has an address of one. That one is
// published all the same: who can use it shall not wait.
func (c *Controller) tellFamilies(s *scene, want plan.Desired, status *v1.LoadBalancerStatus) {
	m, families := s.memory, s.service.Spec.IPFamilies
	if want.Hostname != "" || len(status.Ingress) >= len(families) {
		m.halfSince = time.Time{}
		m.news(aboutFamilies, "")
		return
	}
	s.comeBack(lookAgain) // it may come later, and nothing tells
	if m.halfSince.IsZero() {
		m.halfSince = time.Now()
	}
	policy := s.service.Spec.IPFamilyPolicy
	if policy == nil || *policy != v1.IPFamilyPolicyRequireDualStack {
		return
	}
	if left := familyPatience - time.Since(m.halfSince); left > 0 {
		s.comeBack(left)
		return
	}
	message := fmt.Sprintf("The Service requires dual stack (%s and %s), but its load balancer has no address of the second family. "+
		"Set ipFamilyPolicy to PreferDualStack or SingleStack, or ask the platform's support", families[0], families[len(families)-1])
	if m.news(aboutFamilies, message) {
		c.Recorder.Event(s.service, v1.EventTypeWarning, reason.IPFamilyUnmet, message)
	}
}

// showAddress gives a Service with faults the address, if it has none yet: its load balancer works, as it is.
func (c *Controller) showAddress(ctx context.Context, s *scene, lb vultr.LoadBalancer) error {
	if len(s.service.Status.LoadBalancer.Ingress) > 0 {
		return nil
	}
	is := plan.Desired{Hostname: s.reading.Desired.Hostname, IPMode: s.reading.Desired.IPMode, ProxyProtocol: lb.ProxyProtocol, Rules: lb.Rules}
	status, ready := plan.Status(lb, s.service, is, c.LabelInStatus)
	if !ready {
		return c.pending(s, lb)
	}
	return c.publish(ctx, s.service, s.memory, status)
}

func firstAddress(status *v1.LoadBalancerStatus) string {
	for _, ingress := range status.Ingress {
		if ingress.IP != "" {
			return ingress.IP
		}
	}
	return ""
}

// publish writes the status if it is another one. The Service gets it, and the version that it has then.
func (c *Controller) publish(ctx context.Context, service *v1.Service, m *memory, status *v1.LoadBalancerStatus) error {
	m.status.Store(status)
	if equality.Semantic.DeepEqual(service.Status.LoadBalancer, *status) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": service.UID},
		"status":   map[string]any{"loadBalancer": map[string]any{"ingress": status.Ingress}}, // null removes all
	})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	written, err := c.Client.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("failed to update load balancer status: %w", err)
	}
	service.ResourceVersion, service.Status.LoadBalancer = written.ResourceVersion, *status
	return nil
}

// markPorts has the status of a Service say which of its ports are not forwarded, and leaves the rest of it as it is.
func (c *Controller) markPorts(ctx context.Context, service *v1.Service, m *memory, lb vultr.LoadBalancer) error {
	if !lb.Active() || len(service.Status.LoadBalancer.Ingress) == 0 {
		return nil
	}
	status := service.Status.LoadBalancer.DeepCopy()
	plan.MarkPorts(status, service, lb.Rules)
	return c.publish(ctx, service, m, status)
}

// note writes the load balancer's ID into the Service, once: for people, and for the official controller if this one is
// replaced by it. It proves nothing, and one that was removed or changed since stays so.
func (c *Controller) note(ctx context.Context, s *scene, id string) error {
	there := text(s.service, settings.ID)
	asked := there != "" && there != id && there != s.entry.Noted && there != s.finding.lost && there != s.memory.dead
	if s.entry.Noted == id || asked {
		return nil
	}
	s.memory.noted.Store(&id)
	if s.memory.annotated != id {
		if err := c.annotate(ctx, s.service, map[settings.Key]string{settings.ID: id}); err != nil {
			return err
		}
		s.memory.annotated = id
	}
	if !c.noteAtGuests(ctx, s, id) {
		return nil // until all name it, the record says which one the others may name
	}
	entry := s.entry
	entry.Noted = id
	s.later(entry)
	return nil
}

// annotate changes annotations of this very Service, those that differ. An empty value removes one. The Service gets the
// version that it has then.
func (c *Controller) annotate(ctx context.Context, service *v1.Service, notes map[settings.Key]string) error {
	changes := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(notes)) {
		value, there := service.Annotations[string(name)]
		switch {
		case notes[name] == "" && there:
			changes[string(name)] = nil
		case notes[name] != "" && value != notes[name]:
			changes[string(name)] = notes[name]
		}
	}
	if len(changes) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": service.UID, "annotations": changes}})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	written, err := c.Client.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("writing the load balancer's ID into the Service: %w", err)
	}
	service.ResourceVersion = written.ResourceVersion
	return nil
}

// conflictPause is the time for the informer to show what somebody else has just written.
const conflictPause = time.Second

func (c *Controller) addFinalizer(ctx context.Context, service *v1.Service) error {
	if servicehelper.HasLBFinalizer(service) {
		return nil
	}
	finalizers := append(slices.Clone(service.Finalizers), servicehelper.LoadBalancerCleanupFinalizer)
	err := c.finalize(ctx, service, finalizers)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return waitFor(conflictPause, "the Service has changed: %v", err)
	}
	if err != nil {
		return fmt.Errorf("failed to add load balancer cleanup finalizer: %w", err)
	}
	service.Finalizers = finalizers
	c.memories.of(service.UID).finalized = true
	return nil
}

func (c *Controller) removeFinalizer(ctx context.Context, service *v1.Service) error {
	finalizers := slices.DeleteFunc(slices.Clone(service.Finalizers), func(name string) bool { return name == servicehelper.LoadBalancerCleanupFinalizer })
	err := c.finalize(ctx, service, finalizers)
	if apierrors.IsConflict(err) {
		return waitFor(conflictPause, "the Service has changed: %v", err)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("failed to remove load balancer cleanup finalizer: %w", err)
	}
	service.Finalizers = finalizers
	return nil
}

// finalize replaces the finalizers of this very Service. The resource version keeps those that somebody else adds or
// removes at the same time. They are metadata, but go through the status, for which alone permission is asked.
func (c *Controller) finalize(ctx context.Context, service *v1.Service, finalizers []string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": service.UID, "resourceVersion": service.ResourceVersion, "finalizers": finalizers,
	}})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	_, err = c.Client.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
