package balancer

import (
	"bufio"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// inOwnNetwork runs the test once more as a process with a network of its own, loopback alone, and reports whether this
// is that process.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	const sign = "BALANCER_TEST_NETWORK"
	if os.Getenv(sign) == t.Name() {
		lo, err := netlink.LinkByName(loopback)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: a network namespace")
	}
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	again := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), sign+"="+t.Name())
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func TestIPv6(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	addresses, port := group(t, 1)
	echo(t, addresses[0], port)
	echoUDP(t, addresses[0], port)
	web(t, addresses[0], port+1, nil)
	r := newRig(t, rule("tcp", 8080, port), rule("udp", 8080, port), rule("http", 8081, port+1))
	config := Config{RangeV6: netip.MustParsePrefix("fd00:1b::/112"), StateFile: filepath.Join(t.TempDir(), "addresses.json")}
	r.plane = mustNew(t, config)
	var err error
	if r.spec.Address, r.spec.AddressV6, err = r.plane.Addresses(t.Context(), r.spec.ID); err != nil {
		t.Fatal(err)
	}
	if !config.RangeV6.Contains(netip.MustParseAddr(r.spec.AddressV6)) {
		t.Fatalf("IPv6 address %s", r.spec.AddressV6)
	}
	r.backends(addresses)
	r.apply()
	r.await(1)
	at := func(port int) string { return hostWithPort(r.spec.AddressV6, port) }
	dialTCP(t, at(8080)).mustAsk("hello")
	dialTCP(t, r.at(8080)).mustAsk("hello by IPv4")
	conn := dialUDP(t, at(8080))
	askUDP(t, conn, "hello")
	response, _ := get(t, http.MethodGet, "http://"+at(8081)+"/", "", nil)
	if got := response.Header.Get("Saw-X-Forwarded-For"); got != r.spec.AddressV6 {
		t.Errorf("the backend was told of the client %q, want %s", got, r.spec.AddressV6)
	}

	r.spec.Firewall = []simulator.BalancerFirewallRule{{Port: 8080, Source: "0.0.0.0/0"}, {Port: 8081, Source: "fd00:1b::/112"}}
	r.apply()
	if answer, err := askOnce(at(8080), "hello"); err == nil {
		t.Errorf("all of IPv4 was admitted, and with it %v", answer)
	}
	if response, _ := get(t, http.MethodGet, "http://"+at(8081)+"/", "", nil); response.StatusCode != http.StatusOK {
		t.Errorf("%d although the source is admitted", response.StatusCode)
	}
	r.wantsPROXYv6(addresses[0], port+2)

	// The next process takes the address over, and takes away one that nobody owns.
	stray := netip.MustParseAddr("fd00:1b::fff0")
	if err := r.plane.v6.link.add(stray); err != nil {
		t.Fatal(err)
	}
	r.plane.stop(r.spec.ID)
	r.plane = mustNew(t, config)
	if present, err := r.plane.v6.link.list(); err != nil || !slices.Contains(present, netip.MustParseAddr(r.spec.AddressV6)) || slices.Contains(present, stray) {
		t.Errorf("after a kill: %v, %v", present, err)
	}
	r.apply()
	if err := r.plane.Remove(t.Context(), r.spec.ID); err != nil {
		t.Fatal(err)
	}
	if present, err := r.plane.v6.link.list(); err != nil || slices.Contains(present, netip.MustParseAddr(r.spec.AddressV6)) {
		t.Errorf("after the removal: %v, %v", present, err)
	}
}

// wantsPROXYv6 demands a header that names the client's IPv6 address.
func (r *rig) wantsPROXYv6(backend string, port int) {
	r.t.Helper()
	listener := listen(r.t, backend, port)
	r.spec.Rules = []simulator.BalancerRule{rule("tcp", 8090, port)}
	r.spec.Firewall, r.spec.ProxyProtocol = nil, true
	r.apply()
	c := dialTCP(r.t, hostWithPort(r.spec.AddressV6, 8090))
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		r.t.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if want := "PROXY TCP6 " + r.spec.AddressV6 + " " + r.spec.AddressV6 + " "; err != nil || !strings.HasPrefix(line, want) {
		r.t.Errorf("%q (%v) does not begin with %q", line, err, want)
	}
}
