package simulator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrPlugged tells that a disk cannot be removed while it is plugged into an instance.
var ErrPlugged = errors.New("the disk is still plugged into an instance")

// ErrNoSpace tells that the file system that the disks are on is full.
var ErrNoSpace = errors.New("there is no room left for the disks")

// ErrNoDisk tells that what a disk should be copied from is not there.
var ErrNoDisk = errors.New("there is no such disk")

// BusyError tells that a disk cannot be unplugged because something in the guest still holds it.
type BusyError struct {
	// Disk is the ID of the block storage or the file system.
	Disk string
	// Holder names what holds it, for people: "mounted on /var/lib/...", "loop3", "process 4711 (mkfs.xfs)".
	Holder string
}

// Error says which disk is held by what.
func (e *BusyError) Error() string {
	return fmt.Sprintf("storage %s is still in use: %s", e.Disk, e.Holder)
}

// Disks is the data plane of block storage.
//
// Every method is idempotent, and a process killed in the middle of any of them leaves a state from which the same
// call, made by the next process, succeeds.
type Disks interface {
	// Ensure makes the backing file exist with at least that size. It grows, never shrinks. The error is ErrNoSpace when
	// there is no room for it.
	Ensure(ctx context.Context, id string, sizeBytes int64) error
	// Plug gives the disk to the instance: at most one live loop device for the backing file, published in the
	// instance's directories under the serial. Plugging what is plugged there already changes nothing.
	Plug(ctx context.Context, id, serial, instanceID string) error
	// Unplug takes the disk away from the instance: first its entries, then the loop device. A *BusyError tells
	// that something still holds it; the disk then counts as plugged.
	Unplug(ctx context.Context, id, instanceID string) error
	// Refresh lets the guest see the backing file's present size. A disk that is not plugged is not an error.
	Refresh(ctx context.Context, id string) error
	// Remove deletes the backing file; an error that is ErrPlugged while it is plugged. A missing file is not an error.
	Remove(ctx context.Context, id string) error
	// Plugged tells what is really plugged on this machine: disk ID to instance ID.
	Plugged(ctx context.Context) (map[string]string, error)
	// Files lists the IDs of all backing files, plugged or not, those that a restore has not finished included.
	Files(ctx context.Context) ([]string, error)

	// Snapshot keeps the disk's content as of one moment during the call. A snapshot that exists is left as it is; one that
	// exists is whole. The error is ErrNoDisk when there is no such disk, ErrNoSpace when there is no room.
	Snapshot(ctx context.Context, snapshotID, diskID string) error
	// Restore makes the backing file of a new disk from a snapshot. A disk that exists is left as it is; one that exists is
	// whole. The error is ErrNoDisk when there is no such snapshot, ErrNoSpace when there is no room.
	Restore(ctx context.Context, diskID, snapshotID string) error
	// RemoveSnapshot deletes a snapshot; a missing one is not an error. Disks that were made from it stay.
	RemoveSnapshot(ctx context.Context, snapshotID string) error
	// Snapshots lists the IDs of all snapshots, those that are not finished included.
	Snapshots(ctx context.Context) ([]string, error)

	// Forget removes what there is for an instance that is no more, unless a disk is plugged into it.
	Forget(ctx context.Context, instanceID string) error
}

// FileSystems is the data plane of file systems (VFS).
//
// Every method is idempotent, and a process killed in the middle of any of them leaves a state from which the same
// call, made by the next process, succeeds.
type FileSystems interface {
	// Ensure makes the file system exist.
	Ensure(ctx context.Context, id string) error
	// Attach shows the file system to the instance under the mount tag.
	Attach(ctx context.Context, id string, mountTag int, instanceID string) error
	// Detach takes it away from the instance. A *BusyError tells that something in the instance still has it mounted or
	// open; it then stays as it is.
	Detach(ctx context.Context, id string, mountTag int, instanceID string) error
	// Used tells how many bytes its content takes. It may be a second old.
	Used(ctx context.Context, id string) (int64, error)
	// Remove deletes the file system with its content; an error that is ErrPlugged while an instance has it. A missing
	// one is not an error.
	Remove(ctx context.Context, id string) error
	// Attached tells what instances on this machine really see.
	Attached(ctx context.Context) ([]FileSystemAttachment, error)
	// List names all file systems that have content.
	List(ctx context.Context) ([]string, error)
	// Forget removes what there is for an instance that is no more, unless it has a file system.
	Forget(ctx context.Context, instanceID string) error
}

// FileSystemAttachment is a file system that an instance sees.
type FileSystemAttachment struct {
	ID         string
	InstanceID string
	MountTag   int
}

// Balancers is the data plane of load balancers.
type Balancers interface {
	// Addresses reserves an address of each IP version for the load balancer, v6 being "" where there is no IPv6; the
	// same ID always gets the same ones.
	Addresses(ctx context.Context, id string) (v4, v6 string, err error)
	// Apply starts the load balancer or changes it live. Established connections of listeners that stay go on.
	Apply(ctx context.Context, spec BalancerSpec) error
	// Remove stops all listeners and frees the address. An unknown ID is not an error.
	Remove(ctx context.Context, id string) error
	// Health tells what the health checker thinks of each backend.
	Health(id string) []BackendHealth
	// List names the load balancers that have listeners or addresses on this machine, also those of a process that
	// was killed.
	List(ctx context.Context) ([]string, error)
}

// BalancerSpec is everything that the data plane needs to know of one load balancer.
type BalancerSpec struct {
	ID string
	// Address is where the listeners bind, as Addresses gave it; AddressV6 is "" without IPv6.
	Address   string
	AddressV6 string
	// Algorithm is "roundrobin" or "leastconn".
	Algorithm string
	// Timeout is how long a connection may be idle.
	Timeout time.Duration
	// SSLRedirect answers plain HTTP with a redirect to HTTPS.
	SSLRedirect bool
	// ProxyProtocol sends a PROXY v1 header to the backends of tcp rules (never with health checks).
	ProxyProtocol bool
	HTTP2         bool
	HTTP3         bool
	// StickyCookie names the cookie of sticky sessions, "" for none.
	StickyCookie string
	// Certificate is nil without HTTPS.
	Certificate *BalancerCertificate
	HealthCheck BalancerHealthCheck
	Rules       []BalancerRule
	// Firewall admits sources per port. With no rule at all every source is admitted; with any, a port without a
	// rule admits nobody.
	Firewall []BalancerFirewallRule
	Backends []BalancerBackend
	// Dropped is what the backends' own firewalls let vanish of the load balancer's traffic.
	Dropped []BalancerDrop
}

// BalancerDrop is a port of a backend that its firewall lets no traffic of the load balancer reach.
type BalancerDrop struct {
	Address string
	Port    int
	UDP     bool // TCP otherwise
}

// BalancerRule is one listener and where it sends traffic: to BackendPort of every backend.
type BalancerRule struct {
	ID               string
	FrontendProtocol string // tcp, udp, http, https
	FrontendPort     int
	BackendProtocol  string // tcp, udp, http, https
	BackendPort      int
}

// BalancerFirewallRule admits a source to a listener's port.
type BalancerFirewallRule struct {
	Port int
	// Source is a CIDR, or "cloudflare". What is neither is stored by the platform but never matches.
	Source string
	IPType string // v4, v6
}

// BalancerHealthCheck is the one health check of a load balancer.
type BalancerHealthCheck struct {
	Protocol           string // tcp, http, https
	Port               int
	Path               string // "" for tcp
	Interval           time.Duration
	Timeout            time.Duration
	UnhealthyThreshold int
	HealthyThreshold   int
}

// BalancerBackend is one instance that takes traffic.
type BalancerBackend struct {
	InstanceID string
	// Address is the instance's main_ip, or its address in the load balancer's VPC if it has none. Instances that do not
	// run, and those without such an address, are left out.
	Address string
}

// BalancerCertificate is what HTTPS listeners show. It is a secret: never log it.
type BalancerCertificate struct {
	CertificatePEM []byte // the certificate with its chain
	PrivateKeyPEM  []byte
}

// String hides the key from logs.
func (BalancerCertificate) String() string { return "certificate (hidden)" }

// GoString hides the key from logs.
func (BalancerCertificate) GoString() string { return "certificate (hidden)" }

// BackendHealth is what the health checker thinks of one backend.
type BackendHealth struct {
	InstanceID string `json:"instance_id"`
	Address    string `json:"address"`
	Healthy    bool   `json:"healthy"`
	// Reason says in words why it is not healthy: "connection refused", "not checked yet".
	Reason string `json:"reason,omitempty"`
	// Connections is how many are open now.
	Connections int `json:"connections"`
}

// MachineInfo is what a Machine needs to know of its instance.
type MachineInfo struct {
	ID       string
	Label    string
	Hostname string
	Region   string
	MainIP   string
}

// MachineDisk is a disk that a Machine is told of.
type MachineDisk struct {
	ID     string // block storage UUID
	Serial string // mount_id
}

// Machine is what stands behind the instances: a local cluster's workers, a test's processes.
//
// Kill and Reboot return only when no process of the instance lives any more: only then does the API say "stopped" or
// 404 and let the instance's disks go. All methods are idempotent; one that fails is called again until it succeeds.
type Machine interface {
	Start(ctx context.Context, instance MachineInfo) error
	Kill(ctx context.Context, instance MachineInfo) error
	Reboot(ctx context.Context, instance MachineInfo) error
	DiskPlugged(ctx context.Context, instance MachineInfo, disk MachineDisk) error
	DiskUnplugged(ctx context.Context, instance MachineInfo, disk MachineDisk) error
}

// MetadataDoc is what the metadata service has to know of an instance.
type MetadataDoc struct {
	InstanceID string
	Hostname   string
	// InstanceV2ID is the ID again: what came with the second version of the API.
	InstanceV2ID string
	Region       string // lower case, as in the API
	// RegionCode is how the metadata call it.
	RegionCode string
	// MainIP is "" when there is no public interface; the one interface then is in a VPC.
	MainIP     string
	MAC        string   // of the public interface
	Additional []string // further public IPv4 addresses
	NetmaskV4  string
	GatewayV4  string
	MainIPv6   string
	NetworkV6  string
	UserData   string // decoded
	SSHKeys    []string
	Tags       []string
	// StartupScript is what runs at the first boot, as plain text.
	StartupScript string
	Private       []MetadataNIC
}

// MetadataNIC is an interface in a VPC.
type MetadataNIC struct {
	VPC     string // its ID
	Type    string // "private", or "evpn" for the only interface of an instance
	Address string // "dhcp" for an evpn one
	Netmask string
	MAC     string
}
