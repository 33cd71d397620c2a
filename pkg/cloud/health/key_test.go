package health_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/health"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// watched is a process that asks nothing of the API but whether its key is accepted.
type watched struct {
	cloud    *simtest.Cloud
	client   *vultr.Client
	recorder *record.FakeRecorder
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{cloud: simtest.Start(t, simtest.Options{Bubble: true}), recorder: record.NewFakeRecorder(100)}
	var err error
	if w.client, err = vultr.New(vultr.Config{BaseURL: w.cloud.URL, Key: w.cloud.Key, DialContext: w.cloud.Dial}); err != nil {
		t.Fatal(err)
	}
	object := &v1.ObjectReference{APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Namespace: "kube-system", Name: "cloud-controller-manager"}
	watch := &health.KeyWatch{API: w.client, Recorder: w.recorder, Object: object, Process: "node-1"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { watch.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

func (w *watched) events() []string {
	var all []string
	for {
		select {
		case event := <-w.recorder.Events:
			all = append(all, event)
		default:
			return all
		}
	}
}

// A key that is refused is told once, with what the API said, and again when it is accepted. A stand-by, which has nothing
// to ask, finds out by itself, at the cost of a call in five minutes.
func TestKeyIsRefusedAndAcceptedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		time.Sleep(time.Hour) // fake time
		synctest.Wait()
		if n := w.cloud.Count("get_account"); n < 11 || n > 13 {
			t.Errorf("%d calls in a quiet hour, want 12", n)
		}
		if s := w.client.Standing(); s.Accepted.IsZero() || s.Refusal != nil {
			t.Errorf("%+v", s)
		}
		if events := w.events(); len(events) > 0 {
			t.Errorf("events %q", events)
		}

		w.cloud.Sim.SetKeys([]string{"ANOTHERKEY0123456789"})
		time.Sleep(6 * time.Minute) // of the fake clock
		synctest.Wait()
		events := w.events()
		if len(events) != 1 || !strings.HasPrefix(events[0], "Warning APIKeyRefused node-1: the API key is refused: ") || strings.Contains(events[0], w.cloud.Key) {
			t.Errorf("events %q", events)
		}
		time.Sleep(time.Hour) // of the fake clock
		synctest.Wait()
		if events := w.events(); len(events) > 0 {
			t.Errorf("the same is told again: %q", events)
		}

		w.cloud.Sim.SetKeys([]string{w.cloud.Key})
		time.Sleep(40 * time.Second) // it is asked more often now
		synctest.Wait()
		if events := w.events(); !slices.Equal(events, []string{"Normal APIKeyAccepted node-1: the API key is accepted again"}) {
			t.Errorf("events %q", events)
		}
	})
}

// A node with two addresses, of which the key's access list has one: the answers differ from call to call.
func TestFlappingKeyIsToldRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		for range 60 {
			w.cloud.Sim.SetKeys([]string{"ANOTHERKEY0123456789"})
			_, _ = w.client.Account(t.Context()) // it is refused
			time.Sleep(30 * time.Second)         // of the fake clock
			w.cloud.Sim.SetKeys([]string{w.cloud.Key})
			if _, err := w.client.Account(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second) // of the fake clock
		}
		synctest.Wait()
		told := 0
		for _, event := range w.events() {
			if strings.HasPrefix(event, "Warning") {
				told++
			}
		}
		if told < 5 || told > 7 {
			t.Errorf("told %d times in an hour, want 6", told)
		}
	})
}

// An API that is away says nothing about the key, and is asked every half minute at most.
func TestOutageIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.cloud.Fault(simulator.Fault{Operation: "get_account", Action: simulator.FaultStatus, Status: 503, Body: "down"})
		time.Sleep(time.Hour) // of the fake clock
		synctest.Wait()
		if s := w.client.Standing(); s.Silence == nil || s.Refusal != nil {
			t.Errorf("%+v", s)
		}
		if events := w.events(); len(events) > 0 {
			t.Errorf("events %q", events)
		}
	})
}
