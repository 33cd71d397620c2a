package quiet_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	cloudproviderapi "k8s.io/cloud-provider/api"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/quiet"
)

func TestWait(t *testing.T) {
	err := quiet.Wait(7*time.Second, "it is being made")
	retry, ok := errors.AsType[*cloudproviderapi.RetryError](err)
	if !ok || retry.RetryAfter() != 7*time.Second || !strings.Contains(err.Error(), "it is being made") {
		t.Errorf("%v", err)
	}
}

// Events go the way that the service controller sends them.
func TestEvents(t *testing.T) {
	client := fake.NewClientset()
	broadcaster := record.NewBroadcaster(record.WithContext(t.Context()))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: quiet.Client(client).CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: "service-controller"})
	service := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u"}}

	waiting := quiet.Wait(time.Second, "it is being made")
	for range 3 { // the second one is sent as a patch
		recorder.Eventf(service, v1.EventTypeWarning, "SyncLoadBalancerFailed", "Error syncing load balancer: failed to ensure load balancer: %v", waiting)
	}
	recorder.Eventf(service, v1.EventTypeWarning, "UpdateLoadBalancerFailed", "Error updating load balancer with new hosts, error: %v", waiting)
	recorder.Eventf(service, v1.EventTypeWarning, "SyncLoadBalancerFailed", "Error syncing load balancer: %v", errors.New("refused"))
	recorder.Eventf(service, v1.EventTypeWarning, "SomethingElse", "said: %v", waiting)
	recorder.Event(service, v1.EventTypeNormal, "Last", "all before have been sent")

	var texts []string
	limit := time.Now().Add(time.Minute)
	for !strings.Contains(strings.Join(texts, "\n"), "all before") {
		if time.Now().After(limit) {
			t.Fatalf("not sent: %q", texts)
		}
		time.Sleep(10 * time.Millisecond) // between two looks; only what is waited for ends the wait
		list, err := client.CoreV1().Events("shop").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		texts = nil
		for i := range list.Items {
			texts = append(texts, list.Items[i].Reason+": "+list.Items[i].Message)
		}
	}
	all := strings.Join(texts, "\n")
	if len(texts) != 3 || !strings.Contains(all, "refused") || !strings.Contains(all, "SomethingElse") {
		t.Errorf("events:\n%s", all)
	}
}
