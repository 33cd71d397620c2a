package balancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
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
	// RangeV6 is where IPv6 addresses are taken from; the zero value means that load balancers have none.
	RangeV6 netip.Prefix
	// Bridge names a link that gets every address as a /32 or /128. Without one the IPv4 addresses must be local
	// anyway, as loopback's are, and the IPv6 addresses are added to the link "lo".
	Bridge string
	// StateFile keeps which load balancer has which address, and one beside it (-v6) the same for IPv6; "" keeps
	// them in memory.
	StateFile string
	// MaxConnections bounds the open connections of one load balancer; 0 means 10,000.
	MaxConnections int
	// Logger gets what happens outside of any call, as changes of health.
	Logger klog.Logger
}

// Plane is the data plane of all load balancers of a simulated cloud.
type Plane struct {
	cfg    Config
	limits limits
	v4, v6 *family // v6 is nil without IPv6

	// changes lets one Apply or Remove work at a time.
	changes sync.Mutex

	mu        sync.Mutex // guards balancers; never held while something is waited for
	balancers map[string]*balancer
}

// family is the addresses of one IP version and the link that gets them.
type family struct {
	*addresses
	link link
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
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Plane{cfg: cfg, limits: usual(cfg.MaxConnections), balancers: map[string]*balancer{}}
	var err error
	if p.v4, err = openFamily(cfg.Range, cfg.StateFile, cfg.Bridge); err != nil {
		return nil, err
	}
	if cfg.RangeV6.IsValid() {
		if p.v6, err = openFamily(cfg.RangeV6, fileV6(cfg.StateFile), cmp.Or(cfg.Bridge, loopback)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// loopback is the link that IPv6 addresses are added to without a bridge: unlike IPv4's, its range is one address.
const loopback = "lo"

// fileV6 is the name of the file with the IPv6 addresses.
func fileV6(file string) string {
	if file == "" {
		return ""
	}
	extension := filepath.Ext(file)
	return strings.TrimSuffix(file, extension) + "-v6" + extension
}

func (c Config) validate() error {
	if !c.Range.Addr().Is4() {
		return fmt.Errorf("load balancer addresses %s: an IPv4 range is needed", c.Range)
	}
	if c.RangeV6.IsValid() && (!c.RangeV6.Addr().Is6() || c.RangeV6.Addr().Is4In6()) {
		return fmt.Errorf("IPv6 addresses of load balancers %s: an IPv6 range is needed", c.RangeV6)
	}
	if c.Bridge != "" && c.Range.Addr().IsLoopback() {
		return fmt.Errorf("load balancer addresses %s are loopback addresses, which nobody reaches through the bridge %s", c.Range, c.Bridge)
	}
	return nil
}

func openFamily(pool netip.Prefix, file, linkName string) (*family, error) {
	reserved, err := openAddresses(pool, file)
	if err != nil {
		return nil, err
	}
	f := &family{addresses: reserved, link: noLink{}}
	if linkName != "" {
		if f.link, err = openBridge(linkName); err != nil {
			return nil, err
		}
	}
	return f, f.reclaim()
}

// reclaim removes addresses of the range that no load balancer has.
func (f *family) reclaim() error {
	present, err := f.link.list()
	if err != nil {
		return err
	}
	for _, address := range present {
		if !f.pool.Contains(address) || f.reserved(address) {
			continue
		}
		if err := f.link.remove(address); err != nil {
			return err
		}
	}
	return nil
}

// giveUp takes the load balancer's address off the link; it stays reserved.
func (f *family) giveUp(id string) error {
	if address, ok := f.of(id); ok {
		return f.link.remove(address)
	}
	return nil
}

func (p *Plane) families() []*family {
	if p.v6 == nil {
		return []*family{p.v4}
	}
	return []*family{p.v4, p.v6}
}

// Addresses reserves an address of each IP version for the load balancer, v6 being "" without a range for it; the same
// ID always gets the same ones.
func (p *Plane) Addresses(_ context.Context, id string) (v4, v6 string, err error) {
	address, err := p.v4.reserve(id)
	if err != nil || p.v6 == nil {
		return address.String(), "", err
	}
	addressV6, err := p.v6.reserve(id)
	return address.String(), addressV6.String(), err
}

// Apply starts the load balancer or changes it live. When a listener cannot be opened, everything stays as it was.
func (p *Plane) Apply(ctx context.Context, spec simulator.BalancerSpec) error {
	wanted, err := compile(spec)
	if err != nil {
		return err
	}
	p.changes.Lock()
	defer p.changes.Unlock()
	if err := p.occupy(spec.ID, wanted.own); err != nil {
		return err
	}
	b := p.find(spec.ID)
	if b == nil {
		b = newBalancer(p.cfg.Logger.WithValues("loadBalancer", spec.ID), p.limits)
	}
	if err := b.apply(ctx, wanted); err != nil {
		return fmt.Errorf("load balancer %s: %w", spec.ID, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.balancers[spec.ID] = b
	return nil
}

// occupy makes the load balancer's addresses local.
func (p *Plane) occupy(id string, own endpoint) error {
	for _, address := range own.all() {
		f := p.v4
		if address.Is6() {
			f = p.v6
		}
		if f == nil {
			return fmt.Errorf("load balancer %s: address %s: there is no range of IPv6 addresses", id, address)
		}
		if err := f.claim(id, address); err != nil {
			return err
		}
		if err := f.link.add(address); err != nil {
			return err
		}
	}
	return nil
}

func (p *Plane) find(id string) *balancer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.balancers[id]
}

// Remove stops all listeners, closes their connections and frees the address.
func (p *Plane) Remove(_ context.Context, id string) error {
	p.changes.Lock()
	defer p.changes.Unlock()
	p.stop(id)
	for _, f := range p.families() {
		if err := f.giveUp(id); err != nil {
			return err
		}
		if err := f.release(id); err != nil {
			return err
		}
	}
	return nil
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
	var ids []string
	for _, f := range p.families() {
		ids = append(ids, f.ids()...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
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
		for _, f := range p.families() {
			faults = append(faults, f.giveUp(id))
		}
	}
	return errors.Join(faults...)
}
