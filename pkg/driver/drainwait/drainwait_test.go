package drainwait

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

const (
	nodePath = "/api/v1/nodes/worker-1"
	drained  = `{"spec":{"unschedulable":true,"taints":[{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}]}}`
)

func attach(s *testkube.Server, name, driver, node string) {
	s.Put(attachments+"/"+name, fmt.Sprintf(`{"metadata":{"uid":"of-%s"},"spec":{"attacher":%q,"nodeName":%q}}`, name, driver, node))
}

func waiter(t *testing.T, s *testkube.Server) *Waiter {
	t.Helper()
	c, err := kubeapi.InCluster(s.Getenv, s.AccountDir)
	if err != nil {
		t.Fatal(err)
	}
	return &Waiter{Kube: c, NodeName: "worker-1", Driver: "block.csi.vultr.com", Pause: time.Millisecond}
}

// TestRollout: the plugin of a node that is to stay ends at once, whatever is attached.
func TestRollout(t *testing.T) {
	for name, node := range map[string]string{
		"nothing special": `{}`,
		"other taints":    `{"spec":{"taints":[{"key":"node.kubernetes.io/not-ready"},{"key":"dedicated"}]}}`,
		"not ready":       `{"status":{"conditions":[{"type":"Ready","status":"False","message":"container runtime is down"}]}}`,
	} {
		s := testkube.New(t)
		s.Put(nodePath, node)
		attach(s, "ours", "block.csi.vultr.com", "worker-1")
		if err := waiter(t, s).Wait(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := s.Requests(); !slices.Equal(got, []string{"GET " + nodePath}) {
			t.Errorf("%s: it asked %s", name, got)
		}
	}
}

// TestDrain: the volumes of a node that is to go are waited for, and only those.
func TestDrain(t *testing.T) {
	for name, node := range map[string]string{
		"drained":       drained,
		"autoscaler":    `{"spec":{"taints":[{"key":"ToBeDeletedByClusterAutoscaler"}]}}`,
		"shutting down": `{"status":{"conditions":[{"type":"Ready","status":"False","message":"[x, node is shutting down]"}]}}`,
		"being deleted": `{"metadata":{"deletionTimestamp":"2026-11-29T01:00:00Z"}}`,
		"deleted":       "",
	} {
		s := testkube.New(t)
		if node != "" {
			s.Put(nodePath, node)
		}
		attach(s, "a", "block.csi.vultr.com", "worker-1")
		attach(s, "b", "block.csi.vultr.com", "worker-1")
		attach(s, "other-node", "block.csi.vultr.com", "worker-2")
		attach(s, "other-driver", "other.example.com", "worker-1")
		var looks, lists atomic.Int64
		s.Fault(func(_, path string) int {
			switch path {
			case attachments + "/a":
				switch looks.Add(1) {
				case 2:
					return http.StatusServiceUnavailable // which says nothing
				case 3:
					s.Delete(attachments + "/a")
				case 4:
					t.Errorf("%s: what is gone is asked for again", name)
				}
			case attachments + "/b":
				if looks.Load() >= 3 {
					s.Delete(attachments + "/b")
				}
			case attachments:
				switch lists.Add(1) {
				case 1:
					return http.StatusServiceUnavailable
				case 3:
					attach(s, "late", "block.csi.vultr.com", "worker-1")
				}
			case attachments + "/late":
				// The volume was attached again under the same name, elsewhere.
				s.Put(path, `{"metadata":{"uid":"another"},"spec":{"attacher":"block.csi.vultr.com","nodeName":"worker-2"}}`)
			}
			return 0
		})
		if err := waiter(t, s).Wait(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, gone := range []string{"a", "b"} {
			if s.Object(attachments+"/"+gone) != "" {
				t.Errorf("%s: it did not wait for %s", name, gone)
			}
		}
		if lists.Load() != 4 {
			t.Errorf("%s: %d lists", name, lists.Load())
		}
	}
}

// TestTimeIsUp: the wait is bounded, and says what is left.
func TestTimeIsUp(t *testing.T) {
	s := testkube.New(t)
	s.Put(nodePath, drained)
	attach(s, "stuck", "block.csi.vultr.com", "worker-1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Fault(func(_, path string) int {
		if path == attachments+"/stuck" {
			cancel()
		}
		return 0
	})
	err := waiter(t, s).Wait(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stuck") || !strings.Contains(err.Error(), "unschedulable") {
		t.Errorf("got %v", err)
	}
}

// TestStaysAfterAll: a drain that is called off ends the wait.
func TestStaysAfterAll(t *testing.T) {
	s := testkube.New(t)
	s.Put(nodePath, drained)
	attach(s, "ours", "block.csi.vultr.com", "worker-1")
	s.Fault(func(_, path string) int {
		if path == attachments {
			s.Put(nodePath, `{}`)
		}
		return 0
	})
	if err := waiter(t, s).Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestUnknownNode: a rollout does not wait for an API server that refuses or stays away, but one failed request does not end the wait.
func TestUnknownNode(t *testing.T) {
	s := testkube.New(t)
	s.Put(nodePath, drained)
	s.Fault(func(string, string) int { return http.StatusForbidden })
	if err := waiter(t, s).Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "worker-1") {
		t.Errorf("without the right: %v", err)
	}
	var asked atomic.Int64
	s.Fault(func(_, path string) int {
		if path == nodePath && asked.Add(1) == 1 {
			return http.StatusServiceUnavailable
		}
		return 0
	})
	if err := waiter(t, s).Wait(t.Context()); err != nil || asked.Load() < 2 {
		t.Errorf("after %d looks: %v", asked.Load(), err)
	}
}
