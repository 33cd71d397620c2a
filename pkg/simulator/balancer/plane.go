package balancer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// DefaultRange is where load balancers get their addresses when nothing else is said: loopback addresses need no
// set-up and are reached from this machine alone.
var DefaultRange = netip.MustParsePrefix("127.64.0.0/16")

// defaultMaxConnections is the platform's bound for one backend, taken here for a whole load balancer.
const defaultMaxConnections = 10_000

// Config says where load balancers listen. The zero value is good: loopback addresses, nothing kept on disk.
type Config struct {
	// Range is where addresses are taken from; the zero value means DefaultRange.
	Range netip.Prefix
	// Bridge names a link that gets every address as a /32. "" when the addresses are local anyway, as loopback's are.
	Bridge string
	// StateFile keeps which load balancer has which address; "" keeps it in memory.
	StateFile string
	// MaxConnections bounds the open connections of one load balancer; 0 means 10,000.
	MaxConnections int
	// Logger gets what happens outside of any call, as changes of health.
	Logger klog.Logger
}

// Plane is the data plane of all load balancers of a simulated cloud.
type Plane struct {
	cfg  Config
	link link

	// changes lets one Apply or Remove work at a time.
	changes sync.Mutex

	mu        sync.Mutex // guards balancers; never held while something is waited for
	addresses *addresses
	balancers map[string]*balancer
}

var _ simulator.Balancers = (*Plane)(nil)

// New reads which addresses are reserved and takes those of the range off the bridge that nobody has: they are of a
// process that was killed.
func New(cfg Config) (*Plane, error) {
	if !cfg.Range.IsValid() {
		cfg.Range = DefaultRange
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = defaultMaxConnections
	}
	if cfg.Bridge != "" && cfg.Range.Addr().IsLoopback() {
		return nil, fmt.Errorf("load balancer addresses %s are loopback addresses, which nobody reaches through the bridge %s", cfg.Range, cfg.Bridge)
	}
	reserved, err := openAddresses(cfg.Range, cfg.StateFile)
	if err != nil {
		return nil, err
	}
	p := &Plane{cfg: cfg, link: noLink{}, addresses: reserved, balancers: map[string]*balancer{}}
	if cfg.Bridge != "" {
		if p.link, err = openBridge(cfg.Bridge); err != nil {
			return nil, err
		}
	}
	return p, p.reclaim()
}

// reclaim removes addresses of the range that no load balancer has.
func (p *Plane) reclaim() error {
	present, err := p.link.list()
	if err != nil {
		return err
	}
	for _, address := range present {
		if !p.cfg.Range.Contains(address) || p.addresses.reserved(address) {
			continue
		}
		if err := p.link.remove(address); err != nil {
			return err
		}
	}
	return nil
}

// Addresses reserves an IPv4 address for the load balancer; the same ID always gets the same one.
func (p *Plane) Addresses(_ context.Context, id string) (string, error) {
	address, err := p.addresses.reserve(id)
	if err != nil {
		return "", err
	}
	return address.String(), nil
}

// Apply starts the load balancer or changes it live. When a listener cannot be opened, everything stays as it was.
func (p *Plane) Apply(ctx context.Context, spec simulator.BalancerSpec) error {
	wanted, err := compile(spec)
	if err != nil {
		return err
	}
	p.changes.Lock()
	defer p.changes.Unlock()
	if err := p.addresses.claim(spec.ID, wanted.address); err != nil {
		return err
	}
	if err := p.link.add(wanted.address); err != nil {
		return err
	}
	b := p.find(spec.ID)
	if b == nil {
		b = newBalancer(p.cfg.Logger.WithValues("loadBalancer", spec.ID), p.cfg.MaxConnections)
	}
	if err := b.apply(ctx, wanted); err != nil {
		return fmt.Errorf("load balancer %s: %w", spec.ID, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.balancers[spec.ID] = b
	return nil
}

func (p *Plane) find(id string) *balancer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.balancers[id]
}

// Remove stops all listeners, closes their connections and gives the address back.
func (p *Plane) Remove(_ context.Context, id string) error {
	p.changes.Lock()
	defer p.changes.Unlock()
	p.stop(id)
	if address, ok := p.addresses.of(id); ok {
		if err := p.link.remove(address); err != nil {
			return err
		}
	}
	return p.addresses.release(id)
}

func (p *Plane) stop(id string) {
	p.mu.Lock()
	b := p.balancers[id]
	delete(p.balancers, id)
	p.mu.Unlock()
	if b != nil {
		b.close()
	}
}

// Health tells what the health checker thinks of each backend.
func (p *Plane) Health(id string) []simulator.BackendHealth {
	if b := p.find(id); b != nil {
		return b.members.health()
	}
	return nil
}

// List names the load balancers that have an address, also those that a killed process left.
func (p *Plane) List(context.Context) ([]string, error) {
	return p.addresses.ids(), nil
}

// Close stops all load balancers and takes their addresses off the bridge. They stay reserved for their owners.
func (p *Plane) Close() error {
	p.changes.Lock()
	defer p.changes.Unlock()
	p.mu.Lock()
	ids := slices.Collect(maps.Keys(p.balancers))
	p.mu.Unlock()
	var faults []error
	for _, id := range ids {
		p.stop(id)
		if address, ok := p.addresses.of(id); ok {
			faults = append(faults, p.link.remove(address))
		}
	}
	return errors.Join(faults...)
}
