package balancer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/durable"
)

// addresses remembers which load balancer has which address of the range.
type addresses struct {
	pool netip.Prefix
	file string

	mu    sync.Mutex
	byID  map[string]netip.Addr
	taken map[netip.Addr]string
}

func openAddresses(pool netip.Prefix, file string) (*addresses, error) {
	if hosts := pool.Addr().BitLen() - pool.Bits(); hosts < 2 || pool.Bits() < 8 {
		return nil, fmt.Errorf("load balancer addresses %s: a range between /8 and /%d is needed", pool, pool.Addr().BitLen()-2)
	}
	a := &addresses{pool: pool.Masked(), file: file, byID: map[string]netip.Addr{}, taken: map[netip.Addr]string{}}
	if file == "" {
		return a, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("addresses of the load balancers: %w", err)
	}
	if err := json.Unmarshal(text, &a.byID); err != nil {
		return nil, fmt.Errorf("addresses of the load balancers: %s: %w", file, err)
	}
	for id, address := range a.byID {
		if !a.pool.Contains(address) {
			return nil, fmt.Errorf("load balancer %s has address %s (%s): while there are load balancers, the range of their addresses cannot become %s",
				id, address, file, a.pool)
		}
		a.taken[address] = id
	}
	return a, nil
}

// reserve returns the ID's address. The search begins at a place that depends on the ID alone, so that simulators
// which share a range by accident (tests that run at once) hardly ever choose the same address.
func (a *addresses) reserve(id string) (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if address, ok := a.byID[id]; ok {
		return address, nil
	}
	usable := a.usable()
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(id)) // a hash never fails
	first := sum.Sum64() % usable
	for i := range usable {
		address := a.nth(1 + (first+i)%usable)
		if _, used := a.taken[address]; !used {
			return address, a.put(id, address)
		}
	}
	return netip.Addr{}, fmt.Errorf("all %d load balancer addresses of %s are taken", usable, a.pool)
}

// usable is how many addresses can be given: neither the network's own nor the last, and of a wide range the first
// four thousand million.
func (a *addresses) usable() uint64 {
	bits := min(a.pool.Addr().BitLen()-a.pool.Bits(), 32)
	return uint64(1)<<bits - 2
}

func (a *addresses) nth(n uint64) netip.Addr {
	bytes := a.pool.Addr().As16()
	binary.BigEndian.PutUint64(bytes[8:], binary.BigEndian.Uint64(bytes[8:])+n)
	address := netip.AddrFrom16(bytes)
	if a.pool.Addr().Is4() {
		return address.Unmap()
	}
	return address
}

// claim makes sure that the address belongs to the ID.
func (a *addresses) claim(id string, address netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch owner, has := a.taken[address], a.byID[id]; {
	case owner == id:
		return nil
	case has.IsValid():
		return fmt.Errorf("load balancer %s: its address is %s, it cannot become %s", id, has, address)
	case owner != "":
		return fmt.Errorf("load balancer %s: address %s belongs to load balancer %s", id, address, owner)
	case !a.pool.Contains(address):
		return fmt.Errorf("load balancer %s: address %s is outside of %s", id, address, a.pool)
	}
	return a.put(id, address)
}

// put keeps the reservation on disk before anybody acts on it.
func (a *addresses) put(id string, address netip.Addr) error {
	next := maps.Clone(a.byID)
	next[id] = address
	return a.adopt(next)
}

func (a *addresses) release(id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.byID[id]; !ok {
		return nil
	}
	next := maps.Clone(a.byID)
	delete(next, id)
	return a.adopt(next)
}

func (a *addresses) adopt(next map[string]netip.Addr) error {
	if err := a.save(next); err != nil {
		return fmt.Errorf("addresses of the load balancers: %w", err)
	}
	a.byID, a.taken = next, map[netip.Addr]string{}
	for id, address := range next {
		a.taken[address] = id
	}
	return nil
}

// save makes the reservations durable.
func (a *addresses) save(next map[string]netip.Addr) error {
	if a.file == "" {
		return nil
	}
	text, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return err
	}
	return durable.Replace(a.file+".new", a.file, append(text, '\n'), 0o600)
}

func (a *addresses) of(id string) (netip.Addr, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	address, ok := a.byID[id]
	return address, ok
}

func (a *addresses) reserved(address netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.taken[address]
	return ok
}

func (a *addresses) ids() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.byID))
}
