package simulator

import (
	"cmp"
	"net/http"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// instance is one virtual machine.
type instance struct {
	head
	Label    string   `json:"label"`
	Hostname string   `json:"hostname"`
	Region   string   `json:"region"`
	Plan     string   `json:"plan"`
	OSID     int      `json:"os_id"`
	Tags     []string `json:"tags"`
	UserData string   `json:"user_data"` // base64, as sent
	// StaleUserData is what the guest still sees of user data that were changed.
	StaleUserData *string `json:"stale_user_data,omitempty"`
	IPv6          bool    `json:"ipv6"`
	// VPCOnly instances have no public interface.
	VPCOnly bool `json:"vpc_only,omitempty"`
	// PrivateMemory instances are of an older plan: their memory backing does not allow file systems.
	PrivateMemory bool `json:"private_memory,omitempty"`
	// NoPublicIPv4 instances have a public interface with IPv6 alone.
	NoPublicIPv4 bool `json:"no_public_ipv4,omitempty"`
	// Reserved is the reserved address that becomes the main one.
	Reserved string `json:"reserved,omitempty"`
	// Extra are public IPv4 addresses beside the main one that are not reserved.
	Extra []string `json:"extra,omitempty"`
	// Reverse are reverse names by address.
	Reverse map[string]string `json:"reverse,omitempty"`

	AppID         int             `json:"app_id,omitempty"`
	ImageID       string          `json:"image_id,omitempty"`
	SnapshotID    string          `json:"snapshot_id,omitempty"`
	FirewallGroup string          `json:"firewall_group,omitempty"`
	SSHKeys       []string        `json:"ssh_keys,omitempty"` // as text
	StartupScript string          `json:"startup_script,omitempty"`
	UserScheme    string          `json:"user_scheme,omitempty"`
	DDOS          bool            `json:"ddos,omitempty"`
	Backups       *backupSchedule `json:"backups,omitempty"` // nil: off
	interfaces
	// MainIP is "" until the machine boots.
	MainIP string `json:"main_ip"`
	Status string `json:"status"`
	Power  string `json:"power"`
	Server string `json:"server"`
	// Reboots counts how often the guest was restarted from outside: by reboot and by changes that are not live.
	Reboots int `json:"reboots"`
	// Deleting instances stay visible until no process of their machine lives.
	Deleting bool `json:"deleting,omitempty"`
	// Incomplete instances are new: some of their sub-resources are not there yet.
	Incomplete bool `json:"incomplete,omitempty"`
}

const (
	statusPending = "pending"
	statusActive  = "active"
	powerRunning  = "running"
	powerStopped  = "stopped"
	serverNone    = "none"
	serverLocked  = "locked"
	serverOK      = "ok"

	statusResizing   = "resizing"
	serverInstalling = "installingbooting"

	noAddress = "0.0.0.0"
)

var instanceRoutes = []route{
	{method: "GET", path: "/v2/instances", operation: "list_instances", handle: (*Simulator).listInstances},
	{method: "POST", path: "/v2/instances", operation: "create_instance", handle: (*Simulator).createInstance, maxBody: 8 << 20},
	{method: "GET", path: "/v2/instances/{id}", operation: "get_instance", handle: (*Simulator).getInstance},
	{method: "PATCH", path: "/v2/instances/{id}", operation: "update_instance", handle: (*Simulator).updateInstance, maxBody: 8 << 20},
	{method: "DELETE", path: "/v2/instances/{id}", operation: "delete_instance", handle: (*Simulator).deleteInstance},
	{method: "POST", path: "/v2/instances/{id}/halt", operation: "halt_instance", handle: (*Simulator).haltInstance},
	{method: "POST", path: "/v2/instances/{id}/start", operation: "start_instance", handle: (*Simulator).startInstance},
	{method: "POST", path: "/v2/instances/{id}/reboot", operation: "reboot_instance", handle: (*Simulator).rebootInstance},
	{method: "POST", path: "/v2/instances/{id}/reinstall", operation: "reinstall_instance", handle: (*Simulator).reinstallInstance},
	{method: "POST", path: "/v2/instances/halt", operation: "halt_instances", handle: (*Simulator).haltInstances},
	{method: "POST", path: "/v2/instances/start", operation: "start_instances", handle: (*Simulator).startInstances},
	{method: "POST", path: "/v2/instances/reboot", operation: "reboot_instances", handle: (*Simulator).rebootInstances},
}

var errNoInstance = wire.NotFound("Invalid instance-id.")

// locked reports whether the instance refuses changes: all the while until it is ready.
func (i instance) locked() bool {
	return i.ID != "" && (i.Status != statusActive || i.Server != serverOK)
}

// up reports whether the guest runs.
func (i instance) up() bool { return i.Status == statusActive && i.Power == powerRunning }

// ready reports whether the guest runs and nothing is being done to it. It may have no public address.
func (i instance) ready() bool { return i.ID != "" && i.Power == powerRunning && !i.locked() }

func (i instance) machineInfo() MachineInfo {
	return MachineInfo{ID: i.ID, Label: i.Label, Hostname: i.Hostname, Region: i.Region, MainIP: i.MainIP}
}

// instanceBody is an instance as the API shows it.
type instanceBody struct {
	ID               string    `json:"id"`
	OS               string    `json:"os"`
	RAM              int       `json:"ram"`
	Disk             int       `json:"disk"`
	Plan             string    `json:"plan"`
	MainIP           string    `json:"main_ip"`
	VCPUs            int       `json:"vcpu_count"`
	Region           string    `json:"region"`
	DefaultPassword  string    `json:"default_password,omitempty"`
	DateCreated      string    `json:"date_created"`
	Status           string    `json:"status"`
	AllowedBandwidth int       `json:"allowed_bandwidth"`
	NetmaskV4        string    `json:"netmask_v4"`
	GatewayV4        string    `json:"gateway_v4"`
	PowerStatus      string    `json:"power_status"`
	ServerStatus     string    `json:"server_status"`
	V6Network        string    `json:"v6_network"`
	V6MainIP         string    `json:"v6_main_ip"`
	V6NetworkSize    int       `json:"v6_network_size"`
	Label            string    `json:"label"`
	InternalIP       string    `json:"internal_ip"`
	KVM              string    `json:"kvm"`
	Hostname         string    `json:"hostname"`
	Tag              string    `json:"tag"`
	Tags             []string  `json:"tags"`
	OSID             int       `json:"os_id"`
	AppID            int       `json:"app_id"`
	ImageID          string    `json:"image_id"`
	SnapshotID       string    `json:"snapshot_id"`
	FirewallGroupID  string    `json:"firewall_group_id"`
	Features         []string  `json:"features"`
	UserScheme       string    `json:"user_scheme"`
	VPCOnly          bool      `json:"vpc_only"`
	VPCs             []vpcBody `json:"vpcs"`
}

// vpcBody is a network of a server.
type vpcBody struct {
	ID     string `json:"id"`
	Subnet string `json:"subnet"`
}

func (s *Simulator) showInstance(i instance) any { return s.instanceBody(i) }

func (s *Simulator) instanceBody(i instance) instanceBody {
	p, _ := findPlan(i.Plan)
	system, _ := findSystem(i.OSID)
	out := instanceBody{
		ID: i.ID, OS: system.Name, RAM: p.RAM, Disk: p.Disk, Plan: i.Plan, MainIP: noAddress,
		VCPUs: p.VCPUs, Region: i.Region, DateCreated: wire.Time(i.Created), Status: i.Status,
		AllowedBandwidth: p.Bandwidth, GatewayV4: noAddress, PowerStatus: i.Power, ServerStatus: i.Server,
		Label: i.Label, KVM: "https://my.vultr.com/subs/vps/novnc/", Hostname: i.Hostname, Tags: i.Tags, OSID: i.OSID,
		AppID: i.AppID, ImageID: i.ImageID, SnapshotID: i.SnapshotID, FirewallGroupID: i.FirewallGroup,
		Features: i.features(), UserScheme: cmp.Or(i.UserScheme, schemeRoot), VPCs: s.vpcBodies(i.interfaces), VPCOnly: i.VPCOnly,
		InternalIP: i.internalIP(),
	}
	if out.Tags == nil {
		out.Tags = []string{}
	}
	if i.MainIP != "" {
		out.MainIP, out.NetmaskV4, out.GatewayV4 = i.MainIP, s.netmask(), s.gateway().String()
	}
	if i.IPv6 {
		out.V6Network, out.V6MainIP, out.V6NetworkSize = i.ipv6Network(), i.ipv6Address(), 64
	}
	return out
}

func (i instance) features() []string {
	out := []string{}
	if i.IPv6 {
		out = append(out, "ipv6")
	}
	if i.Backups != nil {
		out = append(out, "auto_backups")
	}
	if i.DDOS {
		out = append(out, "ddos_protection")
	}
	return out
}

func (s *Simulator) listInstances(c *call) (int, any, error) {
	q := c.req.URL.Query()
	equal := func(value, wanted string) bool { return wanted == "" || value == wanted }
	match := func(i instance) bool {
		return s.labelMatches(i.Label, q.Get("label")) && s.tagMatches(i.Tags, q.Get("tag")) &&
			equal(i.MainIP, q.Get("main_ip")) && equal(i.Region, q.Get("region")) &&
			equal(i.Hostname, q.Get("hostname")) && equal(i.FirewallGroup, q.Get("firewall_group_id"))
	}
	return list(s, c, "instances", s.instances.All(), match, s.showInstance)
}

func (s *Simulator) getInstance(c *call) (int, any, error) {
	i, ok := s.instances.Get(c.id())
	if !ok {
		return 0, nil, errNoInstance
	}
	return http.StatusOK, map[string]any{"instance": s.showInstance(i)}, nil
}
