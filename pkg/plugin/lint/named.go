package lint

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/manifest"
)

// namedIn returns what Services name, as far as it is in the same files. What is not may be in the cluster.
func namedIn(objects []manifest.Object) func(*v1.Service) []plan.Option {
	return func(service *v1.Service) []plan.Option {
		var options []plan.Option
		asks := settings.NewReader(service.Annotations)
		if found, err := find[v1.ConfigMap](objects, "ConfigMap", service.Namespace, asks.Text(settings.FirewallRulesCM)); found != nil {
			options = append(options, plan.WithFirewallMap(found, err))
		}
		if found, err := find[v1.Secret](objects, "Secret", service.Namespace, asks.Text(settings.AutoSSL)); found != nil {
			options = append(options, plan.WithAutoSSLSecret(written(found), err))
		}
		return options
	}
}

// find returns an object of files, and why it cannot be read; nil if there is none of the name. Where one of two objects does not
// say its namespace, it goes to the one that kubectl is told, which may be the other's.
func find[T any](objects []manifest.Object, kind, namespace, name string) (*T, error) {
	for _, o := range objects {
		if o.APIVersion != "v1" || o.Kind != kind || name == "" || o.Name != name || o.Namespace != namespace && o.Namespace != "" && namespace != "" {
			continue
		}
		var found T
		if err := yaml.Unmarshal(o.JSON, &found); err != nil {
			return &found, fmt.Errorf("reading it: %w", err)
		}
		return &found, nil
	}
	return nil, nil
}

// written returns a Secret as the API server would complete it.
func written(secret *v1.Secret) *v1.Secret {
	for key, value := range secret.StringData {
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		secret.Data[key] = []byte(value)
	}
	return secret
}
