package servicelb_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// groupLife is a cluster of few Services that come and go, change labels and types, under a controller that is restarted and a
// platform that fails now and then.
type groupLife struct {
	*world
	random   *rand.Rand
	services map[int]*v1.Service
}

// Whatever Services do with labels: in the end each has an address, all of its ports are forwarded there, nothing leads to a Service
// that is gone, and no load balancer is left.
func TestGroupsLiveRandomly(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &groupLife{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 1)), services: map[int]*v1.Service{}}
				for range 12 {
					var steps []string
					for range 5 {
						steps = append(steps, l.step())
						l.later(time.Duration(l.random.IntN(20000)) * time.Millisecond)
					}
					l.rests(steps)
				}
				for i := range 5 {
					if s := l.services[i]; s != nil {
						l.deleting(s)
						l.later(time.Duration(i) * 100 * time.Millisecond)
					}
				}
				for _, s := range l.services {
					l.finalizerGone(s, 20*time.Minute)
				}
				l.later(10 * time.Minute)
				l.none()
			})
		})
	}
}

// label returns one of few labels, or none.
func (l *groupLife) label() func(*v1.Service) {
	switch l.random.IntN(4) {
	case 0:
		return without(settings.Label)
	case 1:
		return with(settings.Label, "mail")
	}
	return www
}

// step does one thing and returns what it was.
func (l *groupLife) step() string {
	i := l.random.IntN(5)
	s, port := l.services[i], int32(i)
	if s == nil {
		l.services[i] = l.service(fmt.Sprintf("s%d", i), l.label(), on(80+port, 30080+port))
		return fmt.Sprintf("s%d comes", i)
	}
	switch l.random.IntN(8) {
	case 0:
		l.delete(s)
		delete(l.services, i)
		return s.Name + " is deleted"
	case 1:
		l.edit(s, l.label())
		return s.Name + " has label " + l.fresh(s).Annotations[string(settings.Label)]
	case 2:
		l.edit(s, func(s *v1.Service) {
			if s.Spec.Type == v1.ServiceTypeLoadBalancer {
				s.Spec.Type = v1.ServiceTypeClusterIP
			} else {
				s.Spec.Type = v1.ServiceTypeLoadBalancer
			}
		})
		return s.Name + " is of type " + string(l.fresh(s).Spec.Type)
	case 3:
		l.edit(s, on(80+port, 30080+port), also(180+port, 30180+port))
		return s.Name + " has two ports"
	case 4:
		l.edit(s, on(80+port, 31080+port))
		return s.Name + " has another node port"
	case 5:
		l.start()
		return "another process"
	case 6:
		l.cloud.Fault(simulator.Fault{Operation: "update_load_balancer", Action: simulator.FaultStatus, Status: 503, Times: 2})
		return "changes fail"
	}
	l.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{fmt.Sprintf("10.%d.0.0/16", i)} })
	return s.Name + " has a range"
}

// rests waits until all is as it should be, and stays so.
func (l *groupLife) rests(steps []string) {
	l.Helper()
	end := time.Now().Add(patience)
	for fault := l.fault(); fault != ""; fault = l.fault() {
		if time.Now().After(end) {
			l.Fatalf("after %q: %s; events %q", steps, fault, l.events())
		}
		l.later(time.Second)
	}
	l.later(10 * time.Minute)
	if fault := l.fault(); fault != "" {
		l.Fatalf("some minutes after %q: %s", steps, fault)
	}
}

// fault returns what is not as it should be, "" if all is.
func (l *groupLife) fault() string {
	lbs := l.all()
	served := map[string]bool{}
	for i, s := range l.services {
		fresh := l.fresh(s)
		ingress := fresh.Status.LoadBalancer.Ingress
		if fresh.Spec.Type != v1.ServiceTypeLoadBalancer {
			if len(ingress) > 0 || servicehelper.HasLBFinalizer(fresh) {
				return fmt.Sprintf("s%d is of another type and has %+v, finalizers %v", i, ingress, fresh.Finalizers)
			}
			continue
		}
		if len(ingress) != 1 {
			return fmt.Sprintf("s%d has no address", i)
		}
		at := slices.IndexFunc(lbs, func(lb vultr.LoadBalancer) bool { return lb.IPv4 == ingress[0].IP })
		if at < 0 {
			return fmt.Sprintf("s%d has the address %s of nothing", i, ingress[0].IP)
		}
		served[lbs[at].ID] = true
		for _, port := range fresh.Spec.Ports {
			forwards := func(r vultr.ForwardingRule) bool {
				return r.FrontendPort == int(port.Port) && r.BackendPort == int(port.NodePort)
			}
			if !slices.ContainsFunc(lbs[at].Rules, forwards) {
				return fmt.Sprintf("s%d: port %d is not forwarded by %+v", i, port.Port, lbs[at].Rules)
			}
			if fault := admission(lbs[at], fresh, int(port.Port)); fault != "" {
				return fmt.Sprintf("s%d: %s", i, fault)
			}
		}
	}
	return l.superfluous(lbs, served)
}

// admission says what is wrong with who may connect to a port of a Service, "" for nothing.
func admission(lb vultr.LoadBalancer, s *v1.Service, port int) string {
	want := append(slices.Clone(s.Spec.LoadBalancerSourceRanges), "0.0.0.0/0")[0]
	admitted := slices.ContainsFunc(lb.Firewall, func(r vultr.FirewallRule) bool { return r.Port == port && r.Source == want })
	open := len(lb.Firewall) == 0 && len(s.Spec.LoadBalancerSourceRanges) == 0
	others := slices.ContainsFunc(lb.Firewall, func(r vultr.FirewallRule) bool { return r.Port == port && r.Source != want && r.IPType == "v4" })
	if !admitted && !open || others {
		return fmt.Sprintf("port %d is to admit %s and no others: %+v", port, want, lb.Firewall)
	}
	return ""
}

// superfluous returns what nobody needs.
func (l *groupLife) superfluous(lbs []vultr.LoadBalancer, served map[string]bool) string {
	for _, lb := range lbs {
		if !served[lb.ID] {
			return fmt.Sprintf("load balancer %s serves nobody: %+v", lb.ID, lb.Rules)
		}
		for _, r := range lb.Rules {
			leads := false
			for _, s := range l.services {
				fresh := l.fresh(s)
				leads = leads || fresh.Spec.Type == v1.ServiceTypeLoadBalancer && slices.ContainsFunc(fresh.Spec.Ports, func(port v1.ServicePort) bool { return int(port.NodePort) == r.BackendPort })
			}
			if !leads {
				return fmt.Sprintf("load balancer %s leads to nothing by %+v", lb.ID, r)
			}
		}
	}
	return ""
}
