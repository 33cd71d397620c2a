package lb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The Services of a run. Both ask for the same label, and so share one load balancer.
const (
	firstService  = "first"
	secondService = "second"
)

// accountSteps are what a run does, in this order.
var accountSteps = []struct {
	name string
	do   func(*account, context.Context) error
}{
	{"a machine boots", (*account).boots},
	{"a Service gets a load balancer", (*account).isServed},
	{"it leads to the machine", func(a *account, ctx context.Context) error { return a.answers(ctx, 80) }},
	{"settings and ports change in place", (*account).changes},
	{"the new port leads to the machine", func(a *account, ctx context.Context) error { return a.answers(ctx, 81) }},
	{"only the admitted get in", (*account).closes},
	{"all get in again", (*account).opens},
	{"another Service shares the load balancer", (*account).shares},
	{"its port leads to the machine", func(a *account, ctx context.Context) error { return a.answers(ctx, 82) }},
	{"what somebody changes is put right", (*account).drifts},
	{"a restart changes nothing", (*account).restarts},
	{"the first Service goes, the address stays", (*account).handsOver},
	{"the port of the other one goes on leading to the machine", func(a *account, ctx context.Context) error { return a.answers(ctx, 82) }},
	{"the load balancer goes with the last Service", (*account).goes},
}

// service adds a Service of type LoadBalancer with one port.
func (a *account) service(ctx context.Context, name string, port, nodePort int32) error {
	a.services++
	_, err := a.user.CoreV1().Services(namespace).Create(ctx, &v1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: a.uid(a.services), Annotations: map[string]string{string(settings.Label): accountMark},
		},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{portOf(port, nodePort)}},
	}, metav1.CreateOptions{})
	return err
}

func portOf(port, nodePort int32) v1.ServicePort {
	return v1.ServicePort{Name: "p" + strconv.Itoa(int(port)), Port: port, NodePort: nodePort, Protocol: v1.ProtocolTCP}
}

// edit changes a Service.
func (a *account) edit(ctx context.Context, name string, change func(*v1.Service)) error {
	for {
		service, err := a.user.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(service)
		if _, err = a.user.CoreV1().Services(namespace).Update(ctx, service, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			return err
		}
	}
}

// addressOf returns the address in a Service's status.
func (a *account) addressOf(ctx context.Context, name string) (string, error) {
	service, err := a.user.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if ingress.IP != "" {
			return ingress.IP, nil
		}
	}
	return "", fmt.Errorf("service %s has no address", name)
}

// platform waits until the platform has the one load balancer as it should be: it never gets another ID or another address.
func (a *account) platform(ctx context.Context, limit time.Duration, wrong func(vultr.LoadBalancer) string) error {
	return a.await(ctx, limit, func() error {
		list, err := a.api.LoadBalancers(ctx, 0)
		if err != nil {
			return err
		}
		var ours []vultr.LoadBalancer
		for _, lb := range list.Items {
			if lb.Label == accountMark {
				ours = append(ours, lb)
			}
		}
		if len(ours) != 1 {
			return fmt.Errorf("%d load balancers are called %s", len(ours), accountMark)
		}
		lb := ours[0]
		if a.balancer != "" && (lb.ID != a.balancer || lb.IPv4 != a.address) {
			return fmt.Errorf("load balancer %s with address %s has become %s with %s", a.balancer, a.address, lb.ID, lb.IPv4)
		}
		if !lb.Active() || lb.IPv4 == "" {
			return fmt.Errorf("load balancer %s is %s, with address %q", lb.ID, lb.Status, lb.IPv4)
		}
		if text := wrong(lb); text != "" {
			return errors.New(text)
		}
		a.balancer, a.address = lb.ID, lb.IPv4
		return nil
	})
}

// leadsTo says what is wrong with the rules and the backends of a load balancer.
func (a *account) leadsTo(lb vultr.LoadBalancer, ports map[int]int) string {
	is := map[int]int{}
	for _, rule := range lb.Rules {
		is[rule.FrontendPort] = rule.BackendPort
	}
	for port, nodePort := range ports {
		if is[port] != nodePort || len(lb.Rules) != len(ports) {
			return fmt.Sprintf("its ports lead to %v, not to %v", is, ports)
		}
	}
	if !slices.Equal(lb.Instances, []string{a.machine}) {
		return fmt.Sprintf("its backends are %q, not %s", lb.Instances, a.machine)
	}
	return ""
}

func (a *account) isServed(ctx context.Context) error {
	if err := a.service(ctx, firstService, 80, 31080); err != nil {
		return err
	}
	if err := a.platform(ctx, 15*time.Minute, func(lb vultr.LoadBalancer) string { return a.leadsTo(lb, map[int]int{80: 31080}) }); err != nil {
		return err
	}
	return a.shows(ctx, firstService)
}

// shows waits until the address of the load balancer is in a Service's status.
func (a *account) shows(ctx context.Context, name string) error {
	return a.await(ctx, 5*time.Minute, func() error {
		address, err := a.addressOf(ctx, name)
		if err == nil && address != a.address {
			err = fmt.Errorf("service %s has the address %s, its load balancer %s", name, address, a.address)
		}
		return err
	})
}

// answers waits until the machine answers through the load balancer. In a simulated cloud nobody is there.
func (a *account) answers(ctx context.Context, port int) error {
	if !a.live {
		return nil
	}
	return a.await(ctx, 5*time.Minute, func() error { return a.ask(ctx, port) })
}

// ask gets the page of the machine by a connection of its own.
func (a *account) ask(ctx context.Context, port int) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(a.address, strconv.Itoa(port))+"/", http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if !strings.Contains(string(text), "it works") {
		return fmt.Errorf("somebody else answers: %s: %s", response.Status, text)
	}
	return nil
}

func (a *account) changes(ctx context.Context) error {
	err := a.edit(ctx, firstService, func(s *v1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, string(settings.Algorithm), "least_connections")
		s.Spec.Ports = append(s.Spec.Ports, portOf(81, 31081))
	})
	if err != nil {
		return err
	}
	return a.platform(ctx, 5*time.Minute, func(lb vultr.LoadBalancer) string {
		if lb.Algorithm != leastConnections {
			return "it balances by " + lb.Algorithm
		}
		return a.leadsTo(lb, map[int]int{80: 31080, 81: 31081})
	})
}

// leastConnections is what the platform calls it.
const leastConnections = "leastconn"

// nobody is a range in which nobody is.
const nobody = "192.0.2.0/24"

func (a *account) closes(ctx context.Context) error {
	if err := a.edit(ctx, firstService, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{nobody} }); err != nil {
		return err
	}
	err := a.platform(ctx, 5*time.Minute, func(lb vultr.LoadBalancer) string {
		strange := func(rule vultr.FirewallRule) bool { return rule.Source != nobody }
		if len(lb.Firewall) != 2 || slices.ContainsFunc(lb.Firewall, strange) {
			return fmt.Sprintf("it admits %+v", lb.Firewall)
		}
		return ""
	})
	if err != nil || !a.live {
		return err
	}
	return a.await(ctx, 5*time.Minute, func() error {
		if a.ask(ctx, 80) == nil {
			return errors.New("it admits who is in no range")
		}
		return nil
	})
}

func (a *account) opens(ctx context.Context) error {
	if err := a.edit(ctx, firstService, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil }); err != nil {
		return err
	}
	err := a.platform(ctx, 5*time.Minute, func(lb vultr.LoadBalancer) string {
		if len(lb.Firewall) > 0 {
			return fmt.Sprintf("it admits only %+v", lb.Firewall)
		}
		return ""
	})
	if err != nil {
		return err
	}
	return a.answers(ctx, 80)
}

func (a *account) shares(ctx context.Context) error {
	if err := a.service(ctx, secondService, 82, 31082); err != nil {
		return err
	}
	err := a.platform(ctx, 5*time.Minute, func(lb vultr.LoadBalancer) string {
		return a.leadsTo(lb, map[int]int{80: 31080, 81: 31081, 82: 31082})
	})
	if err != nil {
		return err
	}
	return a.shows(ctx, secondService)
}

// drifts changes the load balancer as somebody does at the platform's web site.
func (a *account) drifts(ctx context.Context) error {
	other := "roundrobin"
	if err := a.api.UpdateLoadBalancer(ctx, a.balancer, vultr.LoadBalancerSettings{Algorithm: &other}); err != nil {
		return err
	}
	return a.platform(ctx, 10*time.Minute, func(lb vultr.LoadBalancer) string {
		if lb.Algorithm != leastConnections {
			return "it balances by " + lb.Algorithm
		}
		return ""
	})
}

// restarts has another process take over, which finds all as it should be.
func (a *account) restarts(ctx context.Context) error {
	a.stop()
	before := a.writes.Load()
	if err := a.start(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(3 * time.Minute): // of drift periods
	}
	if n := a.writes.Load() - before; n > 0 {
		return fmt.Errorf("%d requests changed something", n)
	}
	return a.shows(ctx, firstService)
}

func (a *account) handsOver(ctx context.Context) error {
	if err := a.leaves(ctx, firstService); err != nil {
		return err
	}
	if err := a.platform(ctx, 5*time.Minute, func(lb vultr.LoadBalancer) string { return a.leadsTo(lb, map[int]int{82: 31082}) }); err != nil {
		return err
	}
	return a.shows(ctx, secondService)
}

// leaves deletes a Service and waits until it is gone.
func (a *account) leaves(ctx context.Context, name string) error {
	if err := a.user.CoreV1().Services(namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return a.await(ctx, 15*time.Minute, func() error {
		_, err := a.user.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("service %s still has its finalizer", name)
	})
}

func (a *account) goes(ctx context.Context) error {
	if err := a.leaves(ctx, secondService); err != nil {
		return err
	}
	switch _, err := a.api.LoadBalancer(ctx, a.balancer); {
	case vultr.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("the Services are gone, and load balancer %s is still there", a.balancer)
}
