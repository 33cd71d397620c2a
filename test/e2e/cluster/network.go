package cluster

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/box"
)

// The cluster's addresses are those reserved for documentation (RFC 5737). They
// exist in the run's namespaces only, so that every run uses the same.
const (
	bridge         = "cpv0"
	hostAddress    = "192.0.2.1" // the apiserver, the simulator and the workers' gateway
	instanceRange  = "192.0.2.0/24"
	balancerRange  = "198.51.100.0/24"
	podRange       = "10.244.0.0/16"
	serviceRange   = "10.96.0.0/16"
	serviceAddress = "10.96.0.1" // the apiserver as pods see it
	dnsAddress     = "10.96.0.10"
	metadata       = "169.254.169.254"
	// bridgeMAC stays the bridge's. One that it is not given is that of one of its links: when that worker was destroyed, the others
	// would send to nobody until they ask again whose the gateway is, for up to a minute.
	bridgeMAC = "02:00:c0:00:02:01"
)

// The ports in the outer namespace.
const (
	apiserverPort = "6443"
	cloudPort     = "8080"
	adminPort     = "8081"
)

// podSubnet is the pods' network on the worker with that address: its last byte
// is the third of the subnet's.
func podSubnet(worker netip.Addr) string {
	return fmt.Sprintf("10.244.%d.0/24", worker.As4()[3])
}

// link is the name of the worker's end on the bridge.
func link(worker netip.Addr) string { return fmt.Sprintf("worker%d", worker.As4()[3]) }

// runAll runs commands in a box until one fails.
func runAll(ctx context.Context, c *box.Client, commands [][]string) error {
	for _, argv := range commands {
		if _, err := c.Run(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

// setUpBridge makes the network that the workers' links join.
func setUpBridge(ctx context.Context, outer *box.Client) error {
	return runAll(ctx, outer, [][]string{
		{"ip", "link", "add", bridge, "address", bridgeMAC, "type", "bridge"},
		{"ip", "addr", "add", hostAddress + "/24", "dev", bridge},
		{"ip", "addr", "add", metadata + "/32", "dev", bridge},
		{"ip", "link", "set", bridge, "up"},
		{"sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf." + bridge + ".send_redirects=0"},
	})
}

// connectWorker gives a worker, whose init has that PID in the outer box, its link.
func connectWorker(ctx context.Context, outer, worker *box.Client, pid int, address netip.Addr) error {
	name, subnet := link(address), podSubnet(address)
	// A worker that was destroyed took its end along; the kernel may not be done with it yet.
	if _, err := outer.Run(ctx, "sh", "-c", "ip link del "+name+" 2>/dev/null; true"); err != nil {
		return err
	}
	if err := runAll(ctx, outer, [][]string{
		{"ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(pid)},
		{"ip", "link", "set", name, "master", bridge, "up"},
		{"ip", "route", "replace", subnet, "via", address.String()},
	}); err != nil {
		return err
	}
	return runAll(ctx, worker, [][]string{
		{"ip", "addr", "add", address.String() + "/24", "dev", "eth0"},
		{"ip", "link", "set", "eth0", "up"},
		{"ip", "route", "add", "default", "via", hostAddress},
		{"ip", "route", "add", metadata + "/32", "dev", "eth0"},
		{"sysctl", "-q", "-w", "net.ipv4.ip_forward=1"},
		// Outside of the pods' network a pod goes by the address of its instance.
		{"iptables", "-t", "nat", "-A", "POSTROUTING", "-s", subnet, "!", "-d", podRange, "-j", "MASQUERADE"},
	})
}
