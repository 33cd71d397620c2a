package servicelb

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// read reads what a Service asks for, with what it names. All that does goes through here, so that whoever makes a load
// balancer and whoever changes it read the same.
func (c *Controller) read(ctx context.Context, service *v1.Service) plan.Reading {
	options := []plan.Option{plan.WithDefaults(c.Defaults), plan.WithKubeProxyPort(c.KubeProxyPort)}
	asks := settings.NewReader(service.Annotations)
	if name := asks.Text(settings.FirewallRulesCM); name != "" {
		options = append(options, plan.WithFirewallText(c.firewallText(ctx, service.Namespace, name)))
	}
	if name := asks.Text(settings.AutoSSL); name != "" {
		options = append(options, plan.WithAutoSSL(c.autoSSL(ctx, service.Namespace, name)))
	}
	return plan.Read(service, options...)
}

// firewallText reads the firewall rules in a ConfigMap. It asks the API server itself: the watch of it keeps no contents.
func (c *Controller) firewallText(ctx context.Context, namespace, name string) (string, error) {
	found, err := c.Client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", errors.New("there is none of this name in namespace " + namespace)
	}
	if err != nil {
		return "", fmt.Errorf("reading it: %w", err)
	}
	text, there := found.Data[plan.FirewallMapKey]
	if !there {
		return "", fmt.Errorf("it has no key %s", plan.FirewallMapKey)
	}
	return text, nil
}

// referencesOf returns the objects that a Service names.
func referencesOf(service *v1.Service, reading plan.Reading) []reference {
	var named []reference
	if secret := reading.Desired.TLSSecret; secret != "" {
		named = append(named, reference{secretKind, service.Namespace, secret})
	}
	if domain := reading.Desired.AutoSSLSecret; domain != "" {
		named = append(named, reference{secretKind, service.Namespace, domain})
	}
	if rules := reading.Desired.FirewallConfigMap; rules != "" {
		named = append(named, reference{configMapKind, service.Namespace, rules})
	}
	return named
}
