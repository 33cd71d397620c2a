package lb

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// crowd are Services of all kinds that are there before a storm.
const crowd = 6

// settle has a crowd of Services that are served.
func (w *world) settle() {
	w.Helper()
	w.start()
	w.putCertificate(100 * 24 * time.Hour)
	for i := range crowd {
		w.service(fmt.Sprintf("old-%d", i))
	}
	w.edit("old-0", w.terminates(), with(settings.SSL, secret))
	w.well("all are served")
	w.pass(restAfter)
}

// live does in the middle of a storm what people do, within two minutes.
func (w *world) live() {
	w.Helper()
	w.service("new-0", with(settings.Label, "new"))
	w.service("new-1", admits("10.0.0.0/8"))
	w.service("fleeting")
	w.edit("old-1", with(settings.Timeout, "30"), w.listens(8080))
	w.remove("old-2")
	w.edit("old-3", func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
	w.pass(time.Minute)
	w.putCertificate(200 * 24 * time.Hour)
	w.editNode("node-1", ready(false))
	w.addNode()
	w.remove("fleeting")
	w.pass(time.Minute)
}

// addresses returns what the Services' status says.
func (w *world) addresses() map[string]string {
	all := map[string]string{}
	for _, s := range w.services() {
		for _, ingress := range s.Status.LoadBalancer.Ingress {
			all[s.Name] = ingress.IP
		}
	}
	return all
}

// recovers judges what comes after a storm: within the limit all is well, then nothing happens any more, and in the end nothing is
// left.
func (w *world) recovers(limit time.Duration) {
	w.Helper()
	began := time.Now()
	if !w.until(limit, func() bool { return len(w.wrong()) == 0 }) {
		w.Fatalf("%s after the storm: %q\n%s", limit, w.wrong(), w.lastEvents())
	}
	w.Logf("all was well %s after the storm", time.Since(began).Round(time.Second))
	w.pass(restAfter)
	if text := w.busy(2*driftPeriod + time.Minute); text != "" {
		w.Errorf("%s\n%s", text, w.lastEvents())
	}
	if left := w.empty(); len(left) > 0 {
		w.Errorf("when all Services are deleted: %q\n%s", left, w.lastEvents())
	}
}

// warnings counts the Warning Events about a Service.
func (w *world) warnings(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, event := range w.events {
		if strings.HasPrefix(event, namespace+"/"+name+": "+v1.EventTypeWarning) {
			n++
		}
	}
	return n
}

// storms are what a platform that is there can do to its clients for twenty minutes. Each request counts against the limit that
// others have to share.
var storms = map[string]struct {
	fault simulator.Fault
	most  int64 // requests
}{
	"429 for most requests": {
		fault: simulator.Fault{Action: simulator.FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: 5, Probability: 0.8, Seed: 7}, most: 1500,
	},
	"429 for all of them": {
		fault: simulator.Fault{Action: simulator.FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: 5}, most: 1500,
	},
	"429 that names no time": {
		fault: simulator.Fault{Action: simulator.FaultStatus, Status: http.StatusTooManyRequests, Probability: 0.8, Seed: 11}, most: 3000,
	},
	"503 for most requests": {
		fault: simulator.Fault{Action: simulator.FaultStatus, Status: http.StatusServiceUnavailable, RetryAfter: 2, Probability: 0.7, Seed: 13}, most: 3000,
	},
	"work done, then 502": {
		fault: simulator.Fault{Action: simulator.FaultStatusAfter, Status: http.StatusBadGateway, Probability: 0.5, Seed: 17}, most: 3000,
	},
	"pages of a proxy": {
		fault: simulator.Fault{Action: simulator.FaultNotJSON, Probability: 0.5, Seed: 19}, most: 3000,
	},
	"answers that break off": {
		fault: simulator.Fault{Action: simulator.FaultTruncate, Probability: 0.5, Seed: 23}, most: 3000,
	},
}

// TestStorm: twenty minutes in which most of what is asked for is refused or comes back broken.
func TestStorm(t *testing.T) {
	t.Parallel()
	for name, storm := range storms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.workers = manyWorkers // what shares requests and pauses must do so among many, too
				w.settle()
				before, calls := w.addresses(), w.calls.Load()
				w.cloud.Fault(storm.fault)
				w.live()
				w.pass(18 * time.Minute)
				if n := w.calls.Load() - calls; n > storm.most || n < 20 {
					t.Errorf("%d requests in twenty minutes", n)
				} else {
					t.Logf("%d requests in twenty minutes", n)
				}
				w.cloud.Sim.ClearFaults()
				for name, address := range before {
					if now := w.addresses()[name]; now != address && name != "old-2" && name != "old-3" {
						t.Errorf("the address of %s was %s and is %q", name, address, now)
					}
				}
				w.recovers(15 * time.Minute)
			})
		})
	}
}

// TestHourWithoutAPI: no request reaches the platform for an hour, in which people go on. What serves keeps its address, nobody is
// asked without end, and afterwards all that was asked for is done.
func TestHourWithoutAPI(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed meanwhile %t", killed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.settle()
				before, calls := w.addresses(), w.calls.Load()
				w.cloud.Fault(simulator.Fault{Action: simulator.FaultResetBefore})
				w.live()
				if killed {
					w.lead.dead.Store(true)
				}
				w.pass(58 * time.Minute)
				for name, address := range before {
					if now := w.addresses()[name]; now != address {
						t.Errorf("the address of %s was %s and is %q", name, address, now)
					}
				}
				n := w.calls.Load() - calls
				t.Logf("%d requests in an hour", n)
				if n > 3000 {
					t.Errorf("%d requests in an hour in which none is answered", n)
				}
				if n := w.warnings("old-1"); n > 20 {
					t.Errorf("%d Warnings about one Service", n)
				}
				w.cloud.Sim.ClearFaults()
				w.recovers(15 * time.Minute)
			})
		})
	}
}

// TestLateLists: lists are half a minute late all the time, requests that make load balancers are delivered twice, and processes
// are killed. A label that is seen late never ends in two load balancers: before the request leaves it is written down, and until
// a list that began two and a half minutes later has shown nothing no other one leaves; one that was made twice is found by its
// label, also when its Service is gone.
func TestLateLists(t *testing.T) {
	t.Parallel()
	for _, answer := range []simulator.FaultAnswer{simulator.FaultAnswerFirst, simulator.FaultAnswerSecond} {
		t.Run("the client gets the "+string(answer), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				lags := simulator.ReadLags{"load_balancers.list": 30 * time.Second, "load_balancers.get": time.Millisecond}
				if err := w.cloud.Sim.SetReadLags(lags); err != nil {
					t.Fatal(err)
				}
				w.start()
				w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultDuplicate, Answer: answer, Probability: 0.5, Seed: 29})
				for round := range 8 {
					name := fmt.Sprintf("s%d", round)
					w.service(name, with(settings.Label, "label-of-"+name))
					w.pass(time.Duration(1+3*round) * time.Second)
					switch round % 4 {
					case 0:
						w.lead.dead.Store(true)
					case 1:
						w.remove(name)
					case 2:
						w.edit(name, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
					default:
						w.edit(name, with(settings.Timeout, "30"))
					}
					w.pass(10 * time.Second)
				}
				w.cloud.Sim.ClearFaults()
				w.pass(restAfter)
				if err := w.cloud.Sim.SetReadLags(simulator.NoReadLag()); err != nil {
					t.Fatal(err)
				}
				w.recovers(time.Minute)
			})
		})
	}
}
