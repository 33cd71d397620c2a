package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// metadataURL is the metadata service, which tells instances apart by the asker's address.
const metadataURL = "http://169.254.169.254/v1.json"

// Metadata checks that each worker, and a pod on it, is told its own identity.
func Metadata() Step {
	return Step{"each worker and its pods see their own metadata", func(ctx context.Context, w *World) (string, error) {
		return w.within(ctx, "metadata", metadataSeen)
	}}
}

func metadataSeen(ctx context.Context, w *World) (string, error) {
	if err := CreateWeb(ctx, w.Kubernetes, w.Namespace); err != nil {
		return "", err
	}
	instances, err := w.Instances(ctx)
	if err != nil {
		return "", err
	}
	for _, i := range instances {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, metadataURL, nil)
		if err != nil {
			return "", err
		}
		answer, err := w.sendBy(w.WorkerHTTP(i), request)
		if err != nil {
			return "", err
		}
		if err := namesInstance(answer, i.ID); err != nil {
			return "", fmt.Errorf("a process on %s: %w", i.Label, err)
		}
		if err := w.podSeesMetadata(ctx, i); err != nil {
			return "", fmt.Errorf("a pod on %s: %w", i.Label, err)
		}
	}
	return fmt.Sprintf("%d workers, from a process and from a pod", len(instances)), nil
}

// podSeesMetadata asks through the web pod on the instance's node.
func (w *World) podSeesMetadata(ctx context.Context, i cluster.CloudInstance) error {
	return w.wait(ctx, "it is told its identity", func(ctx context.Context) error {
		pods, err := w.Kubernetes.CoreV1().Pods(w.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + i.Label})
		if err != nil {
			return err
		}
		if len(pods.Items) == 0 || pods.Items[0].Status.Phase != corev1.PodRunning {
			return fmt.Errorf("no pod runs on %s", i.Label)
		}
		query := url.Values{"host": {"169.254.169.254"}, "port": {"80"}, "request": {"v1.json"}, "protocol": {"http"}, "tries": {"1"}}
		answer, err := w.fetch(ctx, podURL(&pods.Items[0])+"/dial?"+query.Encode())
		if err != nil {
			return err
		}
		var dialled struct {
			Responses []string `json:"responses"`
			Errors    []string `json:"errors"`
		}
		if err := json.Unmarshal([]byte(answer), &dialled); err != nil || len(dialled.Responses) != 1 {
			return fmt.Errorf("%s (%w)", answer, err)
		}
		return namesInstance(dialled.Responses[0], i.ID)
	})
}

func namesInstance(document, id string) error {
	if !strings.Contains(document, `"`+id+`"`) {
		return fmt.Errorf("the metadata do not name %s: %s", id, document)
	}
	return nil
}
