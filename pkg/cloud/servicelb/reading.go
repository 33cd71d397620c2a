package servicelb

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// read reads what a Service asks for, with what it names. All that does goes through here, so that whoever makes a load
// balancer and whoever changes it read the same.
func (c *Controller) read(ctx context.Context, service *v1.Service) plan.Reading {
	options, _ := Named(ctx, c.Client, service) // what fails is among the faults of the Service
	reading := plan.Read(service, append(options, plan.WithDefaults(c.Defaults), plan.WithKubeProxyPort(c.KubeProxyPort))...)
	reading.Err = ownFault(service, reading.Err)
	return reading
}

// Named reads the objects that a Service names and whose contents decide about its load balancer too, but for certificates, and
// returns what they say as options for reading the Service. One that does not exist, or cannot be read, is a fault of the
// Service by them. The error is for callers to whom it makes a difference which of the two: it joins what could not be read.
func Named(ctx context.Context, client kubernetes.Interface, service *v1.Service) ([]plan.Option, error) {
	var options []plan.Option
	var failures []error
	// The API server is asked: the watch of these objects keeps no contents.
	fault := func(kind, name string, err error) error {
		switch {
		case err == nil:
			return nil
		case apierrors.IsNotFound(err):
			return errors.New("there is none of this name in namespace " + service.Namespace)
		}
		failures = append(failures, fmt.Errorf("%s %s/%s: %w", kind, service.Namespace, name, err))
		return unreadable("reading it", err)
	}
	asks, core := settings.NewReader(service.Annotations), client.CoreV1()
	if name := asks.Text(settings.FirewallRulesCM); name != "" {
		found, err := core.ConfigMaps(service.Namespace).Get(ctx, name, metav1.GetOptions{})
		options = append(options, plan.WithFirewallMap(found, fault("ConfigMap", name, err)))
	}
	if name := asks.Text(settings.AutoSSL); name != "" {
		found, err := core.Secrets(service.Namespace).Get(ctx, name, metav1.GetOptions{})
		options = append(options, plan.WithAutoSSLSecret(found, fault("Secret", name, err)))
	}
	return options, errors.Join(failures...)
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
