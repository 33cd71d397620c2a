package balancer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// link is where addresses are added to this machine (or to its network namespace). All methods are idempotent.
type link interface {
	add(netip.Addr) error
	remove(netip.Addr) error
	list() ([]netip.Addr, error)
}

// noLink is for addresses that are local anyway.
type noLink struct{}

func (noLink) add(netip.Addr) error        { return nil }
func (noLink) remove(netip.Addr) error     { return nil }
func (noLink) list() ([]netip.Addr, error) { return nil, nil }

// bridge adds each address to a link as a /32 or /128.
type bridge struct{ link netlink.Link }

func openBridge(name string) (bridge, error) {
	found, err := netlink.LinkByName(name)
	if err != nil {
		return bridge{}, fmt.Errorf("link %s for the load balancers' addresses: %w", name, err)
	}
	return bridge{found}, nil
}

func (b bridge) add(address netip.Addr) error {
	err := netlink.AddrAdd(b.link, hostAddress(address))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("adding %s to %s: %w", address, b.link.Attrs().Name, err)
	}
	if address.Is6() {
		return b.settle(address)
	}
	return nil
}

// settleTime is far more than the kernel takes for it.
const settleTime = 10 * time.Second

// settle waits until the address can be reached: the kernel makes the routes of an IPv6 address in the background,
// after it has said that the address is there.
func (b bridge) settle(address netip.Addr) error {
	var routes []netlink.Route
	var err error
	for deadline := time.Now().Add(settleTime); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		routes, err = netlink.RouteGet(address.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("address %s was added to %s, but has no route: %v", address, b.link.Attrs().Name, routes), err)
}

func (b bridge) remove(address netip.Addr) error {
	err := netlink.AddrDel(b.link, hostAddress(address))
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("removing %s from %s: %w", address, b.link.Attrs().Name, err)
	}
	return nil
}

// list returns the /32 and /128 addresses of the link; a wider one is the link's own.
func (b bridge) list() ([]netip.Addr, error) {
	present, err := netlink.AddrList(b.link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", b.link.Attrs().Name, err)
	}
	var list []netip.Addr
	for _, one := range present {
		address, ok := netip.AddrFromSlice(one.IP)
		address = address.Unmap()
		if bits, _ := one.Mask.Size(); ok && bits == address.BitLen() {
			list = append(list, address)
		}
	}
	return list, nil
}

func hostAddress(address netip.Addr) *netlink.Addr {
	one := &netlink.Addr{IPNet: &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(address.BitLen(), address.BitLen())}}
	if address.Is6() {
		one.Flags = unix.IFA_F_NODAD // nobody else has it, and listeners want it at once
	}
	return one
}
