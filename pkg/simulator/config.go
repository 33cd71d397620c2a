package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"k8s.io/klog/v2"
)

// Config is what a Simulator is made of. The zero value is a cloud in memory, without data planes and rate limit, that
// accepts every API key.
type Config struct {
	// StateDir keeps the state; "" keeps it in memory.
	StateDir string
	// Keys are the API keys that are accepted; with none, every key is.
	Keys []string
	// AllowedSources is the account's access control list; with none, every address is allowed.
	AllowedSources []netip.Prefix
	// RateLimit is in requests per second; 0 turns it off. The platform's is 30.
	RateLimit float64
	// RateLimitBy says who shares a limit.
	RateLimitBy RateLimitBy
	// TimeScale multiplies every delay; 0 means 1. A small one makes a fast cloud.
	TimeScale float64
	// Delays is how long things take; the zero value means DefaultDelays.
	Delays Delays
	// ReadLags is how far reads lag behind writes, by kind; those without one lag by DefaultReadLag. NoReadLag has all
	// reads show the truth.
	ReadLags ReadLags
	// GrowOnReattach lets a guest see a volume's new size only when it is attached again or the guest restarts, instead
	// of after Delays.GuestGrowth.
	GrowOnReattach bool
	// LegacyVPC2 answers the routes of VPC 2.0 that released clients still read with an empty list. The platform took
	// them away.
	LegacyVPC2 bool
	// MaxInstances is how many instances the account may have; 0 is no limit.
	MaxInstances int
	// MinHighPerfGB is the smallest size of a high_perf volume; 0 means 10, as the API says. The product's own pages say 1.
	MinHighPerfGB int
	// WrapSnapshots answers single block snapshots inside an object, as the official specification has it; the live
	// platform was seen to answer them bare.
	WrapSnapshots bool
	// InstanceRange is where main_ip addresses of new instances come from, in order from its 11th address; the zero
	// value means 198.18.0.0/16.
	InstanceRange netip.Prefix

	// Disks, FileSystems, Balancers and Machine are the data planes; nil leaves the plane out.
	Disks       Disks
	FileSystems FileSystems
	Balancers   Balancers
	Machine     Machine
	// MachineTimeout bounds one call of Machine, which is then called again; 0 means DefaultMachineTimeout.
	MachineTimeout time.Duration

	// Logger is klog's when it is the zero value.
	Logger klog.Logger
}

// The largest values of Config that make sense. Infinity is none of them.
const (
	MaxTimeScale = 1000
	MaxRateLimit = 1e6
)

// DefaultMachineTimeout is how long a Machine may take. Killing a worker with all its containers takes seconds.
const DefaultMachineTimeout = 2 * time.Minute

// RateLimitBy says who shares a rate limit.
type RateLimitBy string

// The platform limits by source address.
const (
	RateLimitByIP  RateLimitBy = "ip"
	RateLimitByKey RateLimitBy = "key"
)

// Delays is how long the platform takes, before scaling.
type Delays struct {
	BlockCreate time.Duration // until a new volume is active
	Attach      time.Duration // until attached_to_instance appears
	Detach      time.Duration // until attached_to_instance disappears
	GuestGrowth time.Duration // until the guest sees that a volume grew
	FileSystem  time.Duration // until a new file system is active
	Snapshot    time.Duration // until a new block snapshot is complete, from when its data is copied

	LoadBalancer        time.Duration // until a new load balancer is active
	LoadBalancerAddress time.Duration // from then until its address appears
	LoadBalancerNodes   time.Duration // how long a changed node count leaves it activating

	InstanceBoot  time.Duration // until a new instance is active/stopped/locked and has its address
	InstanceReady time.Duration // from then until it is active/running/ok
	Halt          time.Duration
	Start         time.Duration
	Reboot        time.Duration

	InstanceDetails time.Duration // until a new, active instance's backup-schedule is there
	Firewall        time.Duration // until changed firewall rules take effect
	UserData        time.Duration // until the metadata service shows changed user data
	Departure       time.Duration // how long what was destroyed still counts against limits and keeps its VPCs
	VPCAddress      time.Duration // until a new instance's address in a VPC is visible
	VPCAttach       time.Duration // until a server that was there before is in a VPC, or out of it
	BareMetal       time.Duration // until a new bare metal server is active
	Kubernetes      time.Duration // until a new cluster or node pool is active
}

// DefaultDelays is what was seen of the real platform.
func DefaultDelays() Delays {
	return Delays{
		BlockCreate: 3 * time.Second,
		Attach:      4 * time.Second,
		Detach:      4 * time.Second,
		GuestGrowth: 2 * time.Second,
		FileSystem:  5 * time.Second,
		Snapshot:    4 * time.Second,

		LoadBalancer:        20 * time.Second,
		LoadBalancerAddress: 2 * time.Second,
		LoadBalancerNodes:   10 * time.Second,

		InstanceBoot:  23 * time.Second,
		InstanceReady: 35 * time.Second,
		Halt:          6 * time.Second,
		Start:         15 * time.Second,
		Reboot:        2 * time.Second,

		InstanceDetails: 10 * time.Second,
		Firewall:        12 * time.Second,
		UserData:        4 * time.Second,
		Departure:       15 * time.Second,
		VPCAddress:      6 * time.Second,
		VPCAttach:       5 * time.Second,
		BareMetal:       3 * time.Minute,
		Kubernetes:      3 * time.Minute,
	}
}

// withDefaults fills in what was left out and refuses what cannot be.
func (c Config) withDefaults() (Config, error) {
	c.TimeScale = cmp.Or(c.TimeScale, 1)
	c.RateLimitBy = cmp.Or(c.RateLimitBy, RateLimitByIP)
	c.MachineTimeout = cmp.Or(c.MachineTimeout, DefaultMachineTimeout)
	c.MinHighPerfGB = cmp.Or(c.MinHighPerfGB, minHighPerf)
	if c.Delays == (Delays{}) {
		c.Delays = DefaultDelays()
	}
	if !c.InstanceRange.IsValid() {
		c.InstanceRange = netip.MustParsePrefix("198.18.0.0/16")
	}
	c.InstanceRange = c.InstanceRange.Masked()
	if c.Logger.GetSink() == nil {
		c.Logger = klog.Background()
	}
	return c, c.validate()
}

// validate lists everything that cannot be.
func (c Config) validate() error {
	var errs []error
	if !(c.TimeScale > 0 && c.TimeScale <= MaxTimeScale) { // NaN too
		errs = append(errs, fmt.Errorf("time scale %v is not above 0 and at most %v", c.TimeScale, float64(MaxTimeScale)))
	}
	if !(c.RateLimit >= 0 && c.RateLimit <= MaxRateLimit) {
		errs = append(errs, fmt.Errorf("rate limit %v is not from 0 to %v", c.RateLimit, float64(MaxRateLimit)))
	}
	if c.MaxInstances < 0 {
		errs = append(errs, fmt.Errorf("maximum of %d instances is negative", c.MaxInstances))
	}
	if c.MinHighPerfGB < 1 || c.MinHighPerfGB > maxHighPerf {
		errs = append(errs, fmt.Errorf("smallest high_perf volume of %d GB is not between 1 and %d", c.MinHighPerfGB, maxHighPerf))
	}
	if c.MachineTimeout < 0 {
		errs = append(errs, fmt.Errorf("machine timeout %s is negative", c.MachineTimeout))
	}
	if c.RateLimitBy != RateLimitByIP && c.RateLimitBy != RateLimitByKey {
		errs = append(errs, fmt.Errorf("rate limit by %q is neither %q nor %q", c.RateLimitBy, RateLimitByIP, RateLimitByKey))
	}
	if !c.InstanceRange.Addr().Is4() || c.InstanceRange.Bits() > 28 {
		errs = append(errs, fmt.Errorf("instance range %s is not an IPv4 range of at least 16 addresses", c.InstanceRange))
	}
	return errors.Join(append(errs, c.ReadLags.Validate())...)
}
