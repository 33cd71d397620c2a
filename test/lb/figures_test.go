package lb

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// The benchmarks here are figures of the whole program in fake time, at the platform's own pace and within the rate that the
// program allows itself. They don't depend on the machine; beside each stands what it is meant to be, as aim.

// inBubble runs a part of a benchmark in a bubble of fake time, which only tests can have: so it runs as one.
func inBubble(b *testing.B, do func(w *world)) {
	b.Helper()
	ran := false
	part := testing.InternalTest{Name: b.Name(), F: func(t *testing.T) {
		if ran {
			return // -count and -cpu are the benchmark's
		}
		ran = true
		synctest.Test(t, func(t *testing.T) { do(newWorld(t)) })
	}}
	always := func(string, string) (bool, error) { return true, nil } // -run is for tests
	if passed := testing.RunTests(always, []testing.InternalTest{part}); !passed || !ran {
		b.Fatalf("passed: %v, ran: %v (it does not with -skip)", passed, ran)
	}
}

// look is how exact times are.
const look = 20 * time.Millisecond

// BenchmarkQuietCluster is an hour in which nothing happens, with 1,000 nodes and 100 Services. The aim are the pages of one list
// of the account's servers and of one list of load balancers in each period, which is 5 minutes for both, and no write.
func BenchmarkQuietCluster(b *testing.B) {
	const nodes, services, hour = 1000, 100, time.Hour
	const pages = 3 + 1 + 1 // 1,001 virtual machines, no bare metal, 101 load balancers
	var s spent
	for b.Loop() {
		inBubble(b, func(w *world) {
			w.populate(nodes)
			w.startWhole()
			w.publishMany(services)
			before := w.spending()
			w.pass(hour)
			s = w.spending().since(before)
		})
	}
	b.ReportMetric(float64(s.calls)/hour.Minutes(), "calls/min")
	b.ReportMetric(pages/statusPeriod.Minutes(), "aim-calls/min")
	b.ReportMetric(float64(s.sent+s.writes+s.events), "writes")
}

// BenchmarkNoOpSync syncs 100 load balancers that are as they should be: their Services are edited in a way that matters to
// nobody, or another process begins to lead. The aim is no write to the cloud or the cluster. Events are counted apart: a process that
// begins to lead says of each Service that it ensures its load balancer, and that it has, as the library does.
func BenchmarkNoOpSync(b *testing.B) {
	for _, cause := range []struct {
		name string
		do   func(w *world)
	}{
		{"edited", func(w *world) {
			for _, s := range w.services() {
				w.edit(s.Name, with("example.com/note", "nothing"))
				synctest.Wait() // or the watch might get more than it keeps
			}
		}},
		{"restarted", func(w *world) {
			w.lead.stop()
			w.startWhole()
		}},
	} {
		b.Run(cause.name, func(b *testing.B) {
			var s spent
			for b.Loop() {
				inBubble(b, func(w *world) {
					w.startWhole()
					w.publishMany(100)
					before := w.spending()
					cause.do(w)
					w.pass(2 * time.Minute)
					if s = w.spending().since(before); s.calls == 0 {
						w.Fatal("nothing was looked at")
					}
				})
			}
			b.ReportMetric(float64(s.sent+s.writes), "writes")
			b.ReportMetric(0, "aim-writes")
			b.ReportMetric(float64(s.events), "events")
			b.ReportMetric(float64(s.calls), "calls")
		})
	}
}

// BenchmarkScaleOut adds 50 nodes within ten seconds to a cluster of 50 with 100 Services. The aim is one change of each load
// balancer. After the last node it takes the 5 seconds in which no further one comes, and what 100 calls take at the program's
// rate.
func BenchmarkScaleOut(b *testing.B) {
	const nodes, more, services = 50, 50, 100
	var patches int
	var took time.Duration
	for b.Loop() {
		inBubble(b, func(w *world) {
			w.populate(nodes)
			w.startWhole()
			w.publishMany(services)
			before := w.cloud.Count("update_load_balancer")
			for range more {
				w.join()
				time.Sleep(200 * time.Millisecond) // of fake time: machines don't boot at one moment
			}
			took = w.takes("all nodes are backends", look, func() bool { return w.haveBackends(nodes + more) })
			w.pass(restAfter) // nothing may follow
			patches = w.cloud.Count("update_load_balancer") - before
		})
	}
	b.ReportMetric(float64(patches), "PATCHes")
	b.ReportMetric(services, "aim-PATCHes")
	b.ReportMetric(took.Seconds(), "s")
}

// BenchmarkServiceToAddress is the time from a new Service to its address, the longest one of five. The aim is 1.05 times what the
// platform takes, which is reported too, and a second.
func BenchmarkServiceToAddress(b *testing.B) {
	delays := simulator.DefaultDelays()
	platform := delays.LoadBalancer + delays.LoadBalancerAddress
	var worst time.Duration
	for b.Loop() {
		inBubble(b, func(w *world) {
			w.startWhole()
			w.pass(time.Minute)
			for i := range 5 {
				name := "new-" + strconv.Itoa(i)
				w.service(name)
				worst = max(worst, w.takes("the Service has an address", look, func() bool { return len(w.get(name).Status.LoadBalancer.Ingress) > 0 }))
				w.pass(7 * time.Minute)
			}
		})
	}
	b.ReportMetric(worst.Seconds(), "s")
	b.ReportMetric(1.05*platform.Seconds()+1, "aim-s")
	b.ReportMetric(platform.Seconds(), "platform-s")
}

// BenchmarkNodeLeaves is the time from the moment when Kubernetes says that a node is not ready, or its Node is deleted, until no
// load balancer sends to it, the longest one of three. The aim is 5 seconds. A second is for further nodes that leave with it; then
// each load balancer costs a call, and at the program's rate of 5 to 10 calls a second a hundred of them take more than that.
func BenchmarkNodeLeaves(b *testing.B) {
	for _, services := range []int{1, 10, 25, 100} {
		b.Run(strconv.Itoa(services), func(b *testing.B) {
			var notReady, removed time.Duration
			for b.Loop() {
				inBubble(b, func(w *world) {
					w.populate(20)
					w.startWhole()
					w.publishMany(services)
					for i := range 3 {
						notReady = max(notReady, w.leaves(3+i, func(name string) { w.editNode(name, ready(false)) }))
						removed = max(removed, w.leaves(6+i, w.removeNode))
					}
				})
			}
			b.ReportMetric(notReady.Seconds(), "not-ready-s")
			b.ReportMetric(removed.Seconds(), "removed-s")
			b.ReportMetric(5, "aim-s")
		})
	}
}

// leaves has something happen to a node and returns how long it stays a backend of any load balancer.
func (w *world) leaves(number int, happens func(name string)) time.Duration {
	w.Helper()
	name := "node-" + strconv.Itoa(number)
	node, err := w.user.CoreV1().Nodes().Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	id, err := providerid.Parse(node.Spec.ProviderID)
	if err != nil {
		w.Fatal(err)
	}
	sends := func(lb simulator.LoadBalancerView) bool { return slices.Contains(lb.Instances, id) }
	if !slices.ContainsFunc(w.ours(), sends) {
		w.Fatalf("%s is a backend of no load balancer", name)
	}
	happens(name)
	took := w.takes(name+" is out of all load balancers", look, func() bool { return !slices.ContainsFunc(w.ours(), sends) })
	w.pass(restAfter)
	return took
}

func (w *world) removeNode(name string) {
	w.Helper()
	if err := w.user.CoreV1().Nodes().Delete(w.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

// BenchmarkCertificateRenewal is the time from a renewed Secret to the change of the load balancer that has its certificate, the
// longest one of five. The aim is 2 seconds.
func BenchmarkCertificateRenewal(b *testing.B) {
	var worst time.Duration
	for b.Loop() {
		inBubble(b, func(w *world) {
			w.startWhole()
			w.putCertificate(100 * 24 * time.Hour)
			w.service(web, w.terminates(), with(settings.SSL, secret))
			w.takes("the Service has an address", time.Second, func() bool { return len(w.addresses()) == 1 })
			w.pass(restAfter)
			for i := range 5 {
				before := w.cloud.Count("update_load_balancer")
				w.putCertificate(time.Duration(200+i) * 24 * time.Hour)
				worst = max(worst, w.takes("the certificate is sent", look, func() bool { return w.cloud.Count("update_load_balancer") > before }))
				w.pass(7 * time.Minute)
			}
		})
	}
	b.ReportMetric(worst.Seconds(), "s")
	b.ReportMetric(2, "aim-s")
}
