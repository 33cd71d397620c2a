package attachlimit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

const nodePath = "/api/v1/nodes/worker-2"

// annotations are those of the node.
func annotations(t *testing.T, s *testkube.Server) map[string]string {
	t.Helper()
	var n struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal([]byte(s.Object(nodePath)), &n); err != nil {
		t.Fatal(err)
	}
	return n.Metadata.Annotations
}

// warnings collects what is told.
type warnings []string

func (w *warnings) Warn(_ context.Context, about events.Claim, reason, message string) {
	*w = append(*w, fmt.Sprintf("%s %s/%s %s %s", about.Kind, about.Namespace, about.Name, reason, message))
}

// TestNote: what a refusal proves gets to the Node of that instance, and is read there again. The newest one counts.
func TestNote(t *testing.T) {
	s := testkube.New(t)
	kube, err := kubeapi.InCluster(s.Getenv, s.AccountDir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		name := fmt.Sprintf("worker-%d", i)
		s.Put("/apis/storage.k8s.io/v1/csinodes/"+name, fmt.Sprintf(
			`{"spec":{"drivers":[{"name":"other","nodeID":%q},{"name":"block.csi.vultr.com","nodeID":%q}]}}`, id(2), id(i)))
		s.Put("/api/v1/nodes/"+name, `{"metadata":{"annotations":{"a":"b"}}}`)
	}
	told := &warnings{}
	n := NewNoter(kube, "block.csi.vultr.com", told)
	for _, volumes := range []int{12, 9, 0} {
		n.Refused(t.Context(), id(2), volumes)
		got := annotations(t, s)
		p := ProofOf(got)
		if p.Volumes != int64(max(1, volumes)) || time.Since(p.At) > time.Minute || got["a"] != "b" {
			t.Errorf("after %d: %v", volumes, got)
		}
	}
	n.Refused(t.Context(), id(7), 3) // no node of ours
	s.Fault(func(string, string) int { return http.StatusForbidden })
	n.Refused(t.Context(), id(2), 3)
	if p := ProofOf(annotations(t, s)); p.Volumes != 1 {
		t.Errorf("notes that cannot be made left %+v", p)
	}
	// People are told of the limits that count, and of no others.
	if len(*told) != 3 {
		t.Errorf("told was %q", *told)
	}
	for i, volumes := range []int{12, 9, 1} {
		if got := (*told)[i]; !strings.HasPrefix(got, "Node default/worker-2 VolumeLimitLowered ") || !strings.Contains(got, fmt.Sprintf("no more than %d volumes to instance %s", volumes, id(2))) ||
			!strings.Contains(got, "24 hours") {
			t.Errorf("told was %q", got)
		}
	}
	for _, name := range []string{"worker-0", "worker-1"} {
		if got := s.Object("/api/v1/nodes/" + name); got != `{"metadata":{"annotations":{"a":"b"},"name":"`+name+`","resourceVersion":"`+map[string]string{"worker-0": "2", "worker-1": "4"}[name]+`"}}` {
			t.Errorf("%s is %s", name, got)
		}
	}
}

func TestProofOf(t *testing.T) {
	for _, c := range []struct{ volumes, at string }{
		{"", ""}, {"11", ""}, {"", "2026-11-29T01:00:00Z"}, {"x", "2026-11-29T01:00:00Z"}, {"0", "2026-11-29T01:00:00Z"}, {"-1", "2026-11-29T01:00:00Z"}, {"11", "yesterday"},
	} {
		if p := ProofOf(map[string]string{annotationVolumes: c.volumes, annotationAt: c.at}); p != (Proof{}) {
			t.Errorf("%+v is %+v", c, p)
		}
	}
	if p := ProofOf(map[string]string{annotationVolumes: "11", annotationAt: "2026-11-29T01:00:00Z"}); p != (Proof{11, start}) {
		t.Errorf("got %+v", p)
	}
}
