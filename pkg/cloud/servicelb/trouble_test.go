package servicelb_test

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// hourly counts the requests and Events of an hour in which nothing changes.
func (w *world) hourly() (calls int, events []string) {
	w.later(time.Hour) // pauses have grown
	w.events()
	before := w.calls()
	w.later(time.Hour)
	return w.calls() - before, w.events()
}

const busy = `{"error":"Load balancer is not ready.","status":400}`

// faulty has every request of a kind refused.
func (w *world) faulty(operation string, status int, body string) {
	w.cloud.Fault(simulator.Fault{Operation: operation, Action: simulator.FaultStatus, Status: status, Body: body})
}

// troubleWithWrites is what can go wrong for ever when load balancers are made, changed and deleted.
var troubleWithWrites = map[string]func(w *world){
	"changes are refused for now": func(w *world) {
		s := w.service("web")
		w.settled(s)
		w.faulty("update_load_balancer", 400, busy)
		w.edit(s, with(settings.Timeout, "30"))
	},
	"changes fail":        func(w *world) { w.trouble("update_load_balancer", 500) },
	"changes find none":   func(w *world) { w.trouble("update_load_balancer", 404) },
	"changes are refused": func(w *world) { w.trouble("update_load_balancer", 400) },
	"deletion is refused for now": func(w *world) {
		s := w.service("web")
		w.settled(s)
		w.faulty("delete_load_balancer", 400, busy)
		w.deleting(s)
	},
	"deletion fails": func(w *world) {
		s := w.service("web")
		w.settled(s)
		w.faulty("delete_load_balancer", 500, "")
		w.deleting(s)
	},
	"deletion never ends": func(w *world) {
		s := w.service("web")
		w.settled(s)
		w.faulty("delete_load_balancer", 204, "")
		w.deleting(s)
	},
	"making is refused":         func(w *world) { w.faulty("create_load_balancer", 400, ""); w.service("web") },
	"making is refused for now": func(w *world) { w.faulty("create_load_balancer", 409, ""); w.service("web") },
	"making fails":              func(w *world) { w.faulty("create_load_balancer", 500, ""); w.service("web") },
	"making is forbidden":       func(w *world) { w.faulty("create_load_balancer", 403, ""); w.service("web") },
}

// troubleWithRest is what can go wrong for ever besides.
var troubleWithRest = map[string]func(w *world){
	"no Secret": func(w *world) { w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80")) },
	"a fault":   func(w *world) { w.service("web", with(settings.NodeCount, "2")) },
	"the Secret went": func(w *world) {
		w.putSecret(certificate(w.T, time.Now().Add(100*time.Hour)))
		w.settled(w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80")))
		if err := w.client.CoreV1().Secrets("shop").Delete(w.Context(), "tls", metav1.DeleteOptions{}); err != nil {
			w.Fatal(err)
		}
	},
	"adoption is refused": func(w *world) {
		lb := w.existing("www")
		w.service("web", with(settings.ID, lb.ID))
	},
	"adoption is refused later": func(w *world) {
		lb := w.existing("www")
		s := w.service("web")
		w.settled(s)
		w.edit(s, with(settings.ID, lb.ID))
	},
	"lists fail":         func(w *world) { w.service("web"); w.faulty("list_load_balancers", 500, "") },
	"the key is refused": func(w *world) { w.settled(w.service("web")); w.faulty("list_load_balancers", 401, "") },
	"the certificate stays": func(w *world) {
		w.putSecret(certificate(w.T, time.Now().Add(100*time.Hour)))
		s := w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		w.settled(s)
		w.later(time.Minute)
		w.faulty("delete_load_balancer_ssl", 409, "")
		w.edit(s, without(settings.SSL), without(settings.HTTPSPorts))
	},
}

// Whatever goes wrong for ever costs few requests, and an Event or none an hour.
func TestHoursOfTrouble(t *testing.T) {
	troubles := maps.Clone(troubleWithWrites)
	maps.Copy(troubles, troubleWithRest)
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				trouble(w)
				calls, events := w.hourly()
				t.Logf("%d calls, %d Events", calls, len(events))
				limit := 250
				if name == "the key is refused" {
					limit = 380 // one question in ten seconds for all load balancers together
				}
				if calls > limit || len(events) > 1 {
					t.Errorf("%d calls, Events %q", calls, events)
				}
			})
		})
	}
}

func (w *world) trouble(operation string, status int) {
	w.Helper()
	s := w.service("web")
	w.settled(s)
	w.cloud.Fault(simulator.Fault{Operation: operation, Action: simulator.FaultStatus, Status: status})
	w.edit(s, with(settings.Timeout, "30"))
}

// A controller that wants another address in the status is not fought at its own speed.
func TestAnotherWritesTheStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.later(5 * time.Minute) // or its own look for a second load balancer is among them
		ctx, cancel := context.WithCancel(t.Context())
		writes := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				fresh := w.fresh(s)
				if ingress := fresh.Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != "203.0.113.9" {
					writes++
					fresh.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "203.0.113.9"}}
					if _, err := w.client.CoreV1().Services("shop").UpdateStatus(w.Context(), fresh, metav1.UpdateOptions{}); err != nil {
						w.Error(err)
					}
				}
				time.Sleep(time.Second) // fake time: how quick the other one is
			}
		}()
		w.later(5 * time.Minute)
		cancel()
		<-done
		if writes > 11 {
			t.Errorf("the other one has to write %d times in five minutes", writes)
		}
	})
}
