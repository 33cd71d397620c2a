package suite

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReadSelection(t *testing.T) {
	for name, c := range map[string]struct{ content, fault string }{
		"sound":           {"Tests:\n  - a\nProvider: skeleton\nParallel: 2\n", ""},
		"no test":         {"Tests:\nProvider: skeleton\n", "names no test"},
		"no provider":     {"Tests:\n  - a\n", "(Provider)"},
		"no expression":   {"Tests:\n  - (\nProvider: skeleton\n", "error parsing regexp"},
		"an unknown key":  {"Tests:\n  - a\nProvider: skeleton\nSkips: [b]\n", `"Skips"`},
		"less than none":  {"Tests:\n  - a\nProvider: skeleton\nParallel: -1\n", "-1 tests"},
		"all of them":     {"Tests:\n  - (\nParallel: -1\n", "(Provider)"},
		"and a driver":    {"Tests:\n  - a\nProvider: skeleton\nDriverInfo:\n  Name: d\n", `"DriverInfo"`},
		"of another kind": {"StorageClass: {FromFile: a.yaml}\n", "no such file"}, // it is a driver's, and the suite has no source here
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "d.yaml"), []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := readDefinition(dir, "d", dir)
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%v, want %q", err, c.fault)
			}
		})
	}
}

// The names of tests of Kubernetes 1.37 that have to do with load balancers, and of some that have not.
const (
	balancers = "[sig-network] LoadBalancers [Feature:LoadBalancer] "
	local     = "[sig-network] LoadBalancers ExternalTrafficPolicy: Local [Feature:LoadBalancer] "
	services  = "[sig-network] Services "
)

// TestNetworkOfRepository: the definition has all tests of load balancers and no others, and which of them are skipped.
func TestNetworkOfRepository(t *testing.T) {
	run := []string{
		balancers + "should be able to change the type and ports of a TCP service [Slow]",
		balancers + "should be able to change the type and ports of a UDP service [Slow]",
		balancers + "should only allow access from service loadbalancer source ranges [Slow]",
		balancers + "should handle load balancer cleanup finalizer for service [Slow]",
		balancers + "should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on different nodes",
		balancers + "should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on the same nodes",
		balancers + "should not have connectivity disruption during rolling update with externalTrafficPolicy=Cluster [Slow]",
		balancers + "should not have connectivity disruption during rolling update with externalTrafficPolicy=Local [Slow]",
		local + "should work for type=LoadBalancer [Slow]",
		local + "should only target nodes with endpoints [Slow]",
		local + "should target all nodes with endpoints [Slow]",
		local + "should work from pods [Slow]",
		services + "should serve endpoints on same port and different protocol for internal traffic on Type LoadBalancer",
		services + "should fail health check node port if there are only terminating endpoints",
		services + "should implement NodePort and HealthCheckNodePort correctly when ExternalTrafficPolicy changes",
	}
	skipped := []string{
		balancers + "should have session affinity work for LoadBalancer service with Local traffic policy [LinuxOnly] [Slow]",
		balancers + "should be able to switch session affinity for LoadBalancer service with Local traffic policy [LinuxOnly] [Slow]",
		balancers + "should have session affinity work for LoadBalancer service with Cluster traffic policy [LinuxOnly] [Slow]",
		balancers + "should be able to switch session affinity for LoadBalancer service with Cluster traffic policy [LinuxOnly] [Slow]",
		balancers + "should be able to create LoadBalancer Service without NodePort and change it [Slow]",
	}
	others := []string{
		services + "should serve endpoints on same port and different protocols [Conformance]",
		services + "should be able to create a functioning NodePort service [Conformance]",
		services + "should have session affinity work for NodePort service [LinuxOnly] [Conformance]",
		"External Storage [Driver: block.csi.vultr.com] [Testpattern: Dynamic PV (default fs)] volumes should store data",
	}
	dir := filepath.Join("..", "conformance")
	d, err := readDefinition(dir, "network", "")
	if err != nil {
		t.Fatal(err)
	}
	all, err := readSkips(dir)
	if err != nil {
		t.Fatal(err)
	}
	skips, err := skipsOf(all, "network", nil)
	if err != nil {
		t.Fatal(err)
	}
	isSkipped := func(name string) bool {
		return slices.ContainsFunc(skips, func(s Skip) bool { return s.pattern.MatchString(name) })
	}
	for _, name := range run {
		if !d.has(name) || isSkipped(name) {
			t.Errorf("of the definition %t, skipped %t: %s", d.has(name), isSkipped(name), name)
		}
	}
	for _, name := range skipped {
		if !d.has(name) || !isSkipped(name) {
			t.Errorf("of the definition %t, skipped %t: %s", d.has(name), isSkipped(name), name)
		}
	}
	for _, name := range others {
		if d.has(name) {
			t.Errorf("of the definition: %s", name)
		}
	}
	names := slices.Concat(run, skipped)
	for _, tests := range d.tests {
		if !slices.ContainsFunc(names, tests.MatchString) {
			t.Errorf("the definition names %q, which is no test", tests)
		}
	}
	for _, s := range skips {
		if !slices.ContainsFunc(names, s.pattern.MatchString) {
			t.Errorf("%q of %s is no test of load balancers", s.Tests, skipsFile)
		}
	}
}
