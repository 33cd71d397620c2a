package docs

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/lint"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

// head is what each object has.
type head struct {
	metav1.TypeMeta

	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
}

// The kinds of other projects that pages show, with the fields that they use: a slip in one of these is found without the
// projects' own code. That the fields are theirs is by their documentation.
type (
	gateway struct {
		head

		Spec struct {
			GatewayClassName string `json:"gatewayClassName"`
			Infrastructure   struct {
				Annotations map[string]string `json:"annotations"`
			} `json:"infrastructure"`
			Listeners []struct {
				Name     string `json:"name"`
				Protocol string `json:"protocol"`
				Port     int    `json:"port"`
			} `json:"listeners"`
		} `json:"spec"`
	}

	clientTrafficPolicy struct {
		head

		Spec struct {
			TargetRefs []struct {
				Group string `json:"group"`
				Kind  string `json:"kind"`
				Name  string `json:"name"`
			} `json:"targetRefs"`
			ProxyProtocol struct {
				Optional bool `json:"optional"`
			} `json:"proxyProtocol"`
		} `json:"spec"`
	}

	databaseStorage struct {
		StorageClass string `json:"storageClass"`
		Size         string `json:"size"`
	}

	databaseCluster struct {
		head

		Spec struct {
			Instances  int             `json:"instances"`
			Storage    databaseStorage `json:"storage"`
			WALStorage databaseStorage `json:"walStorage"`
			Backup     struct {
				VolumeSnapshot struct {
					ClassName string `json:"className"`
				} `json:"volumeSnapshot"`
			} `json:"backup"`
		} `json:"spec"`
	}

	scheduledBackup struct {
		head

		Spec struct {
			Schedule             string `json:"schedule"`
			BackupOwnerReference string `json:"backupOwnerReference"`
			Method               string `json:"method"`
			Cluster              struct {
				Name string `json:"name"`
			} `json:"cluster"`
		} `json:"spec"`
	}
)

// foreign returns what a manifest of another project is decoded into, nil for Kubernetes' own kinds.
func foreign(document []byte) any {
	var of metav1.TypeMeta
	if yaml.Unmarshal(document, &of) != nil {
		return nil // whoever decodes it says so
	}
	switch of.APIVersion + " " + of.Kind {
	case "gateway.networking.k8s.io/v1 Gateway":
		return new(gateway)
	case "gateway.envoyproxy.io/v1alpha1 ClientTrafficPolicy":
		return new(clientTrafficPolicy)
	case "postgresql.cnpg.io/v1 Cluster":
		return new(databaseCluster)
	case "postgresql.cnpg.io/v1 ScheduledBackup":
		return new(scheduledBackup)
	}
	return nil
}

var (
	ownManifests     = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	foreignManifests = regexp.MustCompile("(?s)```yaml foreign\n(.*?)```")
	foreignValues    = regexp.MustCompile("(?s)```yaml values\n(.*?)```")
)

// documents returns the YAML documents of the pages that are fenced so, each with its page.
func documents(t *testing.T, fence *regexp.Regexp) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for page, content := range pages(t) {
		for _, match := range fence.FindAllStringSubmatch(content, -1) {
			all[page] = append(all[page], strings.Split(match[1], "\n---\n")...)
		}
	}
	return all
}

// TestForeignManifestsHaveKnownFields: manifests of other projects are marked "yaml foreign", as no API server of the tests has their
// kinds. What they say of load balancers is judged as the controller would.
func TestForeignManifestsHaveKnownFields(t *testing.T) {
	judged := 0
	for page, all := range documents(t, foreignManifests) {
		for _, document := range all {
			object := foreign([]byte(document))
			if object == nil {
				t.Errorf("%s: nothing is known of this kind:\n%s", page, document)
				continue
			}
			if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
				t.Errorf("%s: %v\n%s", page, err, document)
			}
			if object, ok := object.(*gateway); ok {
				judged++
				judge(t, page, serviceWith(object.Spec.Infrastructure.Annotations))
			}
		}
	}
	if judged == 0 {
		t.Error("no Gateway was found")
	}
}

// TestValuesOfChartsAskForWhatThereIs: values for charts of other projects are marked "yaml values". Of their Services the annotations
// are judged as the controller would, on a Service as such charts make it.
func TestValuesOfChartsAskForWhatThereIs(t *testing.T) {
	judged := 0
	for page, all := range documents(t, foreignValues) {
		for _, document := range all {
			var values any
			if err := yaml.Unmarshal([]byte(document), &values); err != nil {
				t.Errorf("%s: %v\n%s", page, err, document)
			}
			for _, annotations := range annotationsIn(values) {
				judged++
				judge(t, page, serviceWith(annotations))
			}
		}
	}
	if judged < 2 {
		t.Errorf("only %d Services were judged", judged)
	}
}

// TestServicesOfThePagesAreFine: the controller finds no fault with a Service that a page shows.
func TestServicesOfThePagesAreFine(t *testing.T) {
	judged := 0
	for page, all := range documents(t, ownManifests) {
		for _, document := range all {
			var service corev1.Service
			if err := yaml.Unmarshal([]byte(document), &service); err != nil || service.Kind != "Service" || service.APIVersion != "v1" {
				continue
			}
			if service.Spec.Type == corev1.ServiceTypeLoadBalancer {
				judged++
				judge(t, page, &service)
			}
		}
	}
	if judged < 5 {
		t.Errorf("only %d Services were judged", judged)
	}
}

func judge(t *testing.T, page string, service *corev1.Service) {
	t.Helper()
	for i := range service.Spec.Ports {
		if service.Spec.Ports[i].Protocol == "" {
			service.Spec.Ports[i].Protocol = corev1.ProtocolTCP
		}
		service.Spec.Ports[i].NodePort = 60000 + int32(i) //nolint:gosec // a Service has few ports
	}
	for _, finding := range lint.Service(lint.InCluster("Service", "default", service.Name), service, lint.Context{}) {
		if finding.Severity == report.Error || finding.Key != "" {
			t.Errorf("%s: Service %s: %s %s", page, service.Name, finding.Key, finding.Problem)
		}
	}
}

// serviceWith is the Service of an ingress controller.
func serviceWith(annotations map[string]string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "ingress", Namespace: "default", Annotations: annotations},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer,
			Ports: []corev1.ServicePort{
				{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}, {Name: "https", Port: 443, Protocol: corev1.ProtocolTCP},
			},
		},
	}
}

// annotationsIn returns the annotations of load balancers that are anywhere in values.
func annotationsIn(values any) []map[string]string {
	object, ok := values.(map[string]any)
	if !ok {
		return nil
	}
	var all []map[string]string
	own := map[string]string{}
	for key, value := range object {
		if strings.HasPrefix(key, settings.Prefix) {
			own[key] = fmt.Sprint(value)
		}
		all = append(all, annotationsIn(value)...)
	}
	if len(own) > 0 {
		all = append(all, own)
	}
	return all
}
