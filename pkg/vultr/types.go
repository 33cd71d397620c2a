package vultr

import "time"

// List is one complete list of a kind of resource. A list of which any page failed, or that is shorter than the API's
// own count, is an error and never a List.
type List[T any] struct {
	Items []T
	// Began is when the request for the first page left: the list says nothing of what happened after it.
	Began time.Time
	// short is set when the API counts more objects than it lists. Such a list never leaves this package.
	short *ShortListError
}

// BlockType is the API's block_type of a block storage volume.
type BlockType string

// The block types that the platform sells.
const (
	HighPerf   BlockType = "high_perf"   // NVMe
	StorageOpt BlockType = "storage_opt" // HDD
)

// Volume is one block storage volume.
type Volume struct {
	ID     string // UUID
	Label  string // not unique on the platform
	Region string // lower case, "ewr"
	SizeGB int    // 1 GB of the API is 1 GiB of the device
	Type   BlockType
	Status string // "pending", "active", and what the platform may add
	// AttachedTo is the instance's UUID, "" when detached.
	AttachedTo string
	// MountID is the serial of the device in the guest.
	MountID string
	// SnapshotID is "" for a volume without a source; the API's "0" is read as "".
	SnapshotID string
	Created    time.Time
	// MonthlyCost is in dollars.
	MonthlyCost float64
}

// Active reports whether the volume can be attached, grown and deleted.
func (v Volume) Active() bool { return v.Status == "active" }

// VolumeRequest describes a volume to create.
type VolumeRequest struct {
	Label  string
	Region string
	SizeGB int
	Type   BlockType
	// SnapshotID is the block snapshot whose content the volume gets, "" for an empty volume. Only HighPerf volumes of at
	// least the snapshot's size can have one.
	SnapshotID string
}

// InstanceKind tells virtual machines from bare metal servers, which have routes of their own in the API.
type InstanceKind string

// The kinds of servers.
const (
	KindVM        InstanceKind = "vm"
	KindBareMetal InstanceKind = "metal"
)

// Instance is one server, virtual or bare metal.
type Instance struct {
	ID       string // UUID
	Kind     InstanceKind
	Label    string
	Hostname string
	Region   string // lower case
	Plan     string
	Status   string // "pending", "active", "suspended", "resizing", ...
	// PowerStatus is "running" or "stopped"; "" where the platform does not say (older bare metal answers).
	PowerStatus string
	// ServerStatus is "none", "locked", "installingbooting" or "ok"; bare metal has none.
	ServerStatus string
	// MainIP is the public IPv4 address; "" while none is assigned (the API's 0.0.0.0).
	MainIP string
	// InternalIP is the address in the VPC, "" without one.
	InternalIP string
	// MainIPv6 is the public IPv6 address, "" without one.
	MainIPv6 string
	// VPCs are the UUIDs of the networks that it is in.
	VPCs    []string
	Tags    []string
	Created time.Time
}

// ForwardingRule is one listener of a load balancer and where it sends traffic.
type ForwardingRule struct {
	FrontendProtocol string // tcp, udp, http, https
	FrontendPort     int
	BackendProtocol  string
	BackendPort      int
}

// FirewallRule admits a source to a port of a load balancer. Without any rule every source is admitted.
type FirewallRule struct {
	Port   int
	Source string // CIDR or "cloudflare"
	IPType string // v4, v6
}

// HealthCheck is the one health check that a load balancer has.
type HealthCheck struct {
	Protocol           string // tcp, http, https
	Port               int
	Path               string // "" for tcp; in a request by http or https it stands for "/"
	CheckInterval      int    // seconds
	ResponseTimeout    int    // seconds
	UnhealthyThreshold int
	HealthyThreshold   int
}

// AutoSSL is a certificate that the platform gets and renews by itself, for a domain in its own DNS.
type AutoSSL struct {
	Zone string // "example.com"; "" without one
	Sub  string // "www"; "" for the zone itself
	// Domain is what both make, set by the platform.
	Domain string
}

// GlobalRegion is a further region of a load balancer.
type GlobalRegion struct {
	Region string // lower case
	VPC    string // "" for the public network
}

// NodeIPs are the addresses from which the nodes of a load balancer reach its backends.
type NodeIPs struct {
	V4, V6, Private []string
}

// Certificate is PEM text for a load balancer's HTTPS listeners. It is a secret: never log it.
type Certificate struct {
	PrivateKey  string
	Certificate string
	Chain       string
}

// String keeps the private key out of logs.
func (Certificate) String() string { return redacted }

// GoString keeps the private key out of logs.
func (Certificate) GoString() string { return redacted }

// LoadBalancer is one load balancer as the API shows it.
type LoadBalancer struct {
	ID       string
	Label    string
	Region   string
	Status   string // pending, active
	IPv4     string // "" until assigned, possibly for a while after active
	IPv6     string
	Hostname string // the platform's own name for it (cname)
	Created  time.Time

	Nodes         int
	Algorithm     string // roundrobin, leastconn
	Timeout       int    // seconds
	SSLRedirect   bool
	ProxyProtocol bool
	HTTP2         bool
	HTTP3         bool
	StickyCookie  string
	VPC           string // "" for the public network
	HasSSL        bool
	AutoSSL       AutoSSL
	HealthCheck   HealthCheck
	Rules         []ForwardingRule
	Firewall      []FirewallRule
	Instances     []string // instance UUIDs, sorted
	// GlobalRegions are the other regions in which the load balancer has a part, GlobalHostname their common name.
	GlobalRegions  []GlobalRegion
	GlobalHostname string
	NodeIPs        NodeIPs
}

// Active reports whether the load balancer has finished being made. Its address may still be missing.
func (l LoadBalancer) Active() bool { return l.Status == "active" }

// LoadBalancerSettings is what a create or an update sends. A nil field is not sent: an update keeps the value,
// a create takes the platform's default. A slice behind a non-nil pointer replaces the whole set, also when empty.
type LoadBalancerSettings struct {
	Label         *string
	Nodes         *int
	Algorithm     *string
	Timeout       *int
	SSLRedirect   *bool
	ProxyProtocol *bool
	HTTP2         *bool
	HTTP3         *bool
	StickyCookie  *string
	VPC           *string
	HealthCheck   *HealthCheck
	Rules         *[]ForwardingRule
	Firewall      *[]FirewallRule
	Instances     *[]string
	Certificate   *Certificate
	AutoSSL       *AutoSSL
	GlobalRegions *[]GlobalRegion
}
