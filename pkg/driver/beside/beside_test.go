package beside

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

const (
	theirs = `"template":{"spec":{"containers":[{"name":"csi-provisioner","image":"csi-provisioner"},{"name":"csi-vultr-plugin","image":"vultr/vultr-csi:v0.18.0"}]}}`
	set    = `{"metadata":{"uid":"set"},"spec":{` + theirs + `},"status":{"replicas":1}}`
	left   = `{"metadata":{"uid":"left"},"spec":{"containers":[{"name":"csi-vultr-plugin","image":"vultr/vultr-csi:v0.18.0"}]},"status":{"phase":"Running"}}`
)

// told keeps the warnings.
type told struct{ warnings []string }

func (w *told) Warn(_ context.Context, claim events.Claim, reason, message string) {
	w.warnings = append(w.warnings, strings.Join([]string{claim.Kind, claim.Namespace, claim.Name, claim.UID, reason, message}, " "))
}

func watch(t *testing.T) (*Watch, *testkube.Server, *told) {
	t.Helper()
	server, warner := testkube.New(t), &told{}
	kube, err := kubeapi.InCluster(server.Getenv, server.AccountDir)
	if err != nil {
		t.Fatal(err)
	}
	return New(kube, warner), server, warner
}

// TestOfficialControllerComesAndGoes: the workload is found, then the pod that it left behind; with neither the controller works.
func TestOfficialControllerComesAndGoes(t *testing.T) {
	w, server, warner := watch(t)
	w.look(t.Context())
	if err := w.Check(t.Context()); err != nil || len(warner.warnings) > 0 {
		t.Fatalf("nothing is there: %v, %q", err, warner.warnings)
	}
	for _, c := range []struct{ path, content, object string }{
		{statefulSet, set, "StatefulSet kube-system csi-vultr-controller set"},
		{pods + "csi-vultr-controller-1", left, "Pod kube-system csi-vultr-controller-1 left"},
	} {
		server.Put(c.path, c.content)
		w.look(t.Context())
		err := w.Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), "docs/migrate.md") {
			t.Errorf("%s: %v", c.object, err)
		}
		if n := len(warner.warnings); n == 0 || !strings.HasPrefix(warner.warnings[n-1], c.object+" "+events.OfficialControllerRuns+" ") {
			t.Errorf("%s: told %q", c.object, warner.warnings)
		}
		server.Delete(c.path)
	}
	w.look(t.Context())
	if err := w.Check(t.Context()); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

// TestNobodyRuns: what is there has the name, but does not run, or is ours.
func TestNobodyRuns(t *testing.T) {
	for name, content := range map[string]struct{ path, content string }{
		"scaled to nothing": {statefulSet, `{"spec":{"replicas":0,` + theirs + `}}`},
		"ours as another kind": {
			statefulSet,
			`{"spec":{"replicas":2,"template":{"spec":{"containers":[{"name":"csi-controller","image":"cloud-provider-vultr/csi-controller:v1"}]}}}}`,
		},
		"a pod that has ended":  {pods + "csi-vultr-controller-0", strings.Replace(left, "Running", "Succeeded", 1)},
		"a pod that has failed": {pods + "csi-vultr-controller-0", strings.Replace(left, "Running", "Failed", 1)},
	} {
		w, server, warner := watch(t)
		server.Put(content.path, content.content)
		w.look(t.Context())
		if err := w.Check(t.Context()); err != nil || len(warner.warnings) > 0 {
			t.Errorf("%s: %v, %q", name, err, warner.warnings)
		}
	}
}

// TestAnApiserverThatIsAway: nothing is known at first, so nothing is done; later what was known stays so.
func TestAnApiserverThatIsAway(t *testing.T) {
	w, server, _ := watch(t)
	for _, failing := range []string{statefulSet, pods + "csi-vultr-controller-0"} {
		server.Fault(func(_, path string) int {
			if path == failing {
				return http.StatusServiceUnavailable
			}
			return 0
		})
		w.look(t.Context())
		if err := w.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "not known yet") {
			t.Errorf("%s cannot be read: %v", failing, err)
		}
	}
	server.Fault(nil)
	for _, runs := range []bool{false, true} {
		if runs {
			server.Put(statefulSet, set)
		}
		w.look(t.Context())
		before := w.Check(t.Context())
		if (before != nil) != runs {
			t.Fatalf("it runs: %t, got %v", runs, before)
		}
		server.Fault(func(string, string) int { return http.StatusInternalServerError })
		w.look(t.Context())
		if after := w.Check(t.Context()); (after != nil) != runs || runs && after.Error() != before.Error() {
			t.Errorf("the apiserver is away: %v became %v", before, after)
		}
		server.Fault(nil)
	}
}

// TestARightThatIsMissing: a controller whose role is that of an older release goes on.
func TestARightThatIsMissing(t *testing.T) {
	w, server, warner := watch(t)
	server.Put(statefulSet, set)
	server.Fault(func(string, string) int { return http.StatusForbidden })
	w.look(t.Context())
	if err := w.Check(t.Context()); err != nil || len(warner.warnings) > 0 {
		t.Errorf("got %v, %q", err, warner.warnings)
	}
}

// inBubble is a cluster with the official StatefulSet or without it, in fake time. Its first answer takes a second.
type inBubble struct {
	runs  atomic.Bool
	asked []time.Time // when the StatefulSet was
}

func (c *inBubble) Get(_ context.Context, path string, into any) error {
	if path == statefulSet {
		if c.asked = append(c.asked, time.Now()); len(c.asked) == 1 {
			time.Sleep(time.Second) // of the fake clock
		}
	}
	if path != statefulSet || !c.runs.Load() {
		return &kubeapi.StatusError{Request: "GET " + path, Code: http.StatusNotFound}
	}
	if set, is := into.(*workload); is {
		set.Status.Replicas = 1
	}
	return nil
}

// TestPace: who waits for the end of the official one notices it in seconds, and else it is asked once a minute.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube := &inBubble{}
		kube.runs.Store(true)
		w := New(kube, &told{})
		ctx, cancel := context.WithCancel(t.Context())
		early, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if err := w.Check(early); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before the first look: %v", err)
		}
		began := time.Now()
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()
		if err := w.Check(ctx); err == nil {
			t.Error("the first look was not waited for")
		}
		time.Sleep(12 * time.Second) // of the fake clock
		synctest.Wait()
		kube.runs.Store(false)
		time.Sleep(3 * time.Minute) // of the fake clock
		synctest.Wait()
		if err := w.Check(ctx); err != nil {
			t.Errorf("it is gone: %v", err)
		}
		var at []time.Duration
		for _, asked := range kube.asked {
			at = append(at, asked.Sub(began))
		}
		want := []time.Duration{0, 6 * time.Second, 11 * time.Second, 16 * time.Second, 76 * time.Second, 136 * time.Second}
		if !slices.Equal(at, want) {
			t.Errorf("asked after %v, want %v", at, want)
		}
		cancel()
		<-ended
	})
}
