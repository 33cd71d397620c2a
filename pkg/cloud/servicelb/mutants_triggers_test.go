package servicelb

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

func testService(change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "6c8f4d0c-43b6-4d94-b8f5-1c5c0e0a3c11", Annotations: map[string]string{}, Labels: map[string]string{}},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 80, NodePort: 30080}}},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func annotated(key settings.Key, value string) func(*v1.Service) {
	return func(s *v1.Service) { s.Annotations[string(key)] = value }
}

func address(ip string) func(*v1.Service) {
	return func(s *v1.Service) { s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: ip}} }
}

func finalizers(names ...string) func(*v1.Service) {
	return func(s *v1.Service) { s.Finalizers = names }
}

func emptyMemories() memories { return memories{known: map[types.UID]*memory{}} }

// Which changes of a Service wake its sync up: all that can matter, and none that the controller itself made.
func TestWhatWakesASyncUp(t *testing.T) {
	const written = "192.0.2.1"
	ours := []string{servicehelper.LoadBalancerCleanupFinalizer}
	deleted := metav1.NewTime(time.Unix(1, 0))
	for name, tt := range map[string]struct {
		before, after *v1.Service
		want          bool
	}{
		"nothing":                 {testService(), testService(), false},
		"label":                   {testService(), testService(func(s *v1.Service) { s.Labels["x"] = "y"; s.ResourceVersion = "9" }), false},
		"the note of ours":        {testService(), testService(annotated(settings.ID, "1")), false},
		"another ID":              {testService(annotated(settings.ID, "1")), testService(annotated(settings.ID, "2")), true},
		"the address of ours":     {testService(), testService(address(written)), false},
		"another address":         {testService(address(written)), testService(address("198.51.100.7")), true},
		"the address is removed":  {testService(address(written)), testService(), true},
		"annotation":              {testService(), testService(annotated(settings.Timeout, "30")), true},
		"an annotation goes":      {testService(annotated(settings.Timeout, "30")), testService(), true},
		"port":                    {testService(), testService(func(s *v1.Service) { s.Spec.Ports[0].NodePort++ }), true},
		"type":                    {testService(), testService(func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP }), true},
		"the finalizer of ours":   {testService(), testService(finalizers(ours...)), false},
		"ours is taken off":       {testService(finalizers(ours...)), testService(), true},
		"another finalizer":       {testService(finalizers(ours...)), testService(finalizers("x", ours[0])), false},
		"deletion":                {testService(), testService(func(s *v1.Service) { s.DeletionTimestamp = &deleted }), true},
		"another one of its name": {testService(), testService(func(s *v1.Service) { s.UID = "other" }), true},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Controller{memories: emptyMemories()}
			c.memories.of(testService().UID).status.Store(&testService(address(written)).Status.LoadBalancer)
			c.memories.of(testService().UID).noted.Store(new("1"))
			if got := c.concerns(tt.before, tt.after) || c.overwritten(tt.before, tt.after); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
	c := &Controller{memories: emptyMemories()}
	if !c.overwritten(testService(), testService(address(written))) {
		t.Error("an address that this process did not write does not wake the sync up")
	}
}

// When waves end, as seconds after the first change.
func TestWhenWavesEnd(t *testing.T) {
	every := func(step, until time.Duration) []time.Duration {
		var all []time.Duration
		for at := time.Duration(0); at <= until; at += step {
			all = append(all, at)
		}
		return all
	}
	for name, tt := range map[string]struct {
		calm, urgent []time.Duration
		want         []time.Duration
	}{
		"one that begins":               {calm: []time.Duration{0}, want: []time.Duration{calmPause}},
		"one that stops":                {urgent: []time.Duration{0}, want: []time.Duration{urgentPause}},
		"some that begin":               {calm: every(time.Second, 3*time.Second), want: []time.Duration{3*time.Second + calmPause}},
		"some that stop":                {urgent: every(300*time.Millisecond, 900*time.Millisecond), want: []time.Duration{urgentPause}},
		"one stops while others begin":  {calm: every(time.Second, 3*time.Second), urgent: []time.Duration{3500 * time.Millisecond}, want: []time.Duration{3500*time.Millisecond + urgentPause}},
		"one begins after one stopped":  {urgent: []time.Duration{0}, calm: []time.Duration{500 * time.Millisecond}, want: []time.Duration{urgentPause}},
		"many that begin for a minute":  {calm: every(4*time.Second, 56*time.Second), want: []time.Duration{calmLimit, 56*time.Second + calmPause}},
		"two waves, minutes apart":      {calm: []time.Duration{0, 2 * time.Minute}, want: []time.Duration{calmPause, 2*time.Minute + calmPause}},
		"late ones do not wait forever": {calm: []time.Duration{0, 4 * time.Second, 8 * time.Second}, want: []time.Duration{13 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				var got []time.Duration
				w := newWaves(func() { got = append(got, time.Since(began)) })
				done := make(chan struct{})
				go func() { w.run(ctx); close(done) }()
				all := slices.Concat(tt.calm, tt.urgent)
				slices.Sort(all)
				for _, at := range all {
					time.Sleep(time.Until(began.Add(at))) // fake time: when the change comes
					w.announce(slices.Contains(tt.urgent, at))
				}
				time.Sleep(5 * time.Minute) // fake time: longer than any wave
				cancel()
				<-done
				if !slices.Equal(got, tt.want) {
					t.Errorf("waves ended at %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// Announcements that come before anybody listens are one, urgent if one of them is.
func TestAnnouncementsAreCollected(t *testing.T) {
	for _, order := range [][]bool{{true, false, false}, {false, true, false}, {false, false, true}} {
		w := newWaves(func() {})
		for _, urgent := range order {
			w.announce(urgent)
		}
		if !<-w.changed {
			t.Errorf("%v is not urgent", order)
		}
	}
	w := newWaves(func() {})
	w.announce(false)
	w.announce(false)
	if <-w.changed {
		t.Error("two that begin are urgent")
	}
}

// A wave that has begun ends with the process, without a call.
func TestWavesEndWithTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		called := false
		w := newWaves(func() { called = true })
		done := make(chan struct{})
		go func() { w.run(ctx); close(done) }()
		w.announce(false)
		synctest.Wait()
		cancel()
		<-done
		if called {
			t.Error("called after the end")
		}
	})
}
