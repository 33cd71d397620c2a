package loadbalancers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// record writes annotations of ours to the Service if they are not there already. An empty value removes one.
func (b *Balancers) record(ctx context.Context, service *v1.Service, notes map[settings.Key]string) error {
	changes := map[string]any{}
	for key, note := range notes {
		switch {
		case value(service, key) == note:
		case note == "":
			changes[string(key)] = nil
		default:
			changes[string(key)] = note
		}
	}
	if len(changes) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": service.UID, "annotations": changes}})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	_, err = b.Client.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("writing down the load balancer's ID at the Service: %w", err)
	}
	return nil
}

// certificate reads and checks the TLS Secret of a Service; nil without one.
func (b *Balancers) certificate(ctx context.Context, service *v1.Service, name string) (*plan.Certificate, error) {
	if name == "" {
		return nil, nil
	}
	secret, err := b.Client.CoreV1().Secrets(service.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("annotation %s: there is no Secret %q in namespace %s", settings.SSL, name, service.Namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the TLS Secret %s/%s: %w", service.Namespace, name, err)
	}
	return plan.ReadCertificate(secret, time.Now())
}

// tell makes one Warning Event of all warnings, unless it is the one that was made last.
func (b *Balancers) tell(service *v1.Service, warnings []string) {
	m := b.memories.of(service)
	text := strings.Join(warnings, "; ")
	if text == m.told {
		return
	}
	m.told = text
	if text != "" {
		b.Recorder.Event(service, v1.EventTypeWarning, "LoadBalancerSettings", text)
	}
}

// tellSkipped does the same for nodes that are left out.
func (b *Balancers) tellSkipped(service *v1.Service, skipped []string) {
	m := b.memories.of(service)
	text := strings.Join(skipped, ", ")
	if text == m.skipped {
		return
	}
	m.skipped = text
	if text != "" {
		b.Recorder.Event(service, v1.EventTypeWarning, "NodesLeftOut", "These nodes are no backends: "+text)
	}
}

// tellFirewall makes an Event, once, about firewall rules that are kept although the Service names none.
func (b *Balancers) tellFirewall(service *v1.Service, foreign bool, lb vultr.LoadBalancer) {
	m := b.memories.of(service)
	if foreign && !m.firewallTold {
		b.Recorder.Eventf(service, v1.EventTypeWarning, "FirewallKept",
			"Load balancer %s has %d firewall rules that do not come from this Service; they are kept. An empty %s removes them",
			lb.ID, len(lb.Firewall), settings.FirewallRules)
	}
	m.firewallTold = foreign
}
