package simulator

import (
	"cmp"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
)

// View is the cloud as its operator sees it, for the status page, GET /state and tests. It is a copy.
type View struct {
	TimeScale     float64            `json:"time_scale"`
	Instances     []InstanceView     `json:"instances"`
	BareMetals    []BareMetalView    `json:"bare_metals"`
	Blocks        []BlockView        `json:"blocks"`
	Snapshots     []SnapshotView     `json:"snapshots"`
	FileSystems   []FileSystemView   `json:"file_systems"`
	LoadBalancers []LoadBalancerView `json:"load_balancers"`
	AccountView
	// Transitions are what is due later, and what failed and will be tried again.
	Transitions []TransitionView `json:"transitions"`
	Faults      []Fault          `json:"faults"`
}

// InstanceView is one virtual machine.
type InstanceView struct {
	ID           string `json:"id"`
	Label        string `json:"label"`
	Hostname     string `json:"hostname"`
	Region       string `json:"region"`
	Plan         string `json:"plan"`
	MainIP       string `json:"main_ip"`
	Status       string `json:"status"`
	PowerStatus  string `json:"power_status"`
	ServerStatus string `json:"server_status"`
	// Reboots counts restarts from outside: by reboot and by changes that were not live.
	Reboots  int  `json:"reboots"`
	Deleting bool `json:"deleting"`
	// Blocks are the IDs of the volumes that are attached.
	Blocks []string `json:"blocks"`
}

// BareMetalView is one bare metal server.
type BareMetalView struct {
	ID     string `json:"id"`
	Label  string `json:"label"`
	Region string `json:"region"`
	MainIP string `json:"main_ip"`
}

// BlockView is one volume.
type BlockView struct {
	ID         string `json:"id"`
	Label      string `json:"label"`
	Region     string `json:"region"`
	SizeGB     int    `json:"size_gb"`
	BlockType  string `json:"block_type"`
	Active     bool   `json:"active"`
	MountID    string `json:"mount_id"`
	AttachedTo string `json:"attached_to"`
	// Pending is "attach", "detach" or "linger" while one is under way, with the instance it is about.
	Pending         string `json:"pending,omitempty"`
	PendingInstance string `json:"pending_instance,omitempty"`
	// Holder names what keeps the disk from being unplugged.
	Holder string `json:"holder,omitempty"`
	// SnapshotID is the snapshot that the volume was made from.
	SnapshotID string `json:"snapshot_id,omitempty"`
	// Failure says why the volume could not be made.
	Failure string `json:"failure,omitempty"`
}

// FileSystemView is one file system (VFS).
type FileSystemView struct {
	ID          string              `json:"id"`
	Label       string              `json:"label"`
	Region      string              `json:"region"`
	SizeGB      int                 `json:"size_gb"`
	Active      bool                `json:"active"`
	Attachments []VFSAttachmentView `json:"attachments"`
}

// VFSAttachmentView is a file system plugged into an instance.
type VFSAttachmentView struct {
	Instance string `json:"instance"`
	MountTag int    `json:"mount_tag"`
	State    string `json:"state"`
	// Holder names what keeps the file system from being unplugged.
	Holder string `json:"holder,omitempty"`
}

// SnapshotView is one block snapshot.
type SnapshotView struct {
	ID          string `json:"id"`
	BlockID     string `json:"block_id"`
	Description string `json:"description"`
	SizeGB      int    `json:"size_gb"`
	State       string `json:"state"`
	// Failure says why the snapshot could not be taken.
	Failure string `json:"failure,omitempty"`
}

// LoadBalancerView is one load balancer.
type LoadBalancerView struct {
	ID     string   `json:"id"`
	Label  string   `json:"label"`
	Region string   `json:"region"`
	Active bool     `json:"active"`
	IPv4   string   `json:"ipv4"`
	Rules  []string `json:"rules"` // "tcp 80 -> tcp 31080"
	// Ports are the frontend ports.
	Ports     []int           `json:"ports"`
	Instances []string        `json:"instances"`
	Backends  []BackendHealth `json:"backends"`
}

// TransitionView is a change that is due.
type TransitionView struct {
	Kind     string    `json:"kind"`
	Target   string    `json:"target"`
	Due      time.Time `json:"due"`
	Attempts int       `json:"attempts,omitempty"` // that failed
	Error    string    `json:"error,omitempty"`    // of the last one
}

// View returns the cloud as it is now.
func (s *Simulator) View() View {
	v := View{
		TimeScale: s.cfg.TimeScale, Instances: []InstanceView{}, BareMetals: []BareMetalView{}, Blocks: []BlockView{},
		Snapshots: []SnapshotView{}, FileSystems: []FileSystemView{}, LoadBalancers: []LoadBalancerView{}, Transitions: []TransitionView{}, Faults: s.faults.List(),
		AccountView: s.viewAccount(),
	}
	attached := map[string][]string{}
	for _, b := range sorted(s.blocks.All(), func(b block) int64 { return b.Seq }) {
		v.Blocks = append(v.Blocks, viewBlock(b))
		if b.AttachedTo != "" {
			attached[b.AttachedTo] = append(attached[b.AttachedTo], b.ID)
		}
	}
	s.viewStorage(&v)
	for _, i := range sorted(s.instances.All(), func(i instance) int64 { return i.Seq }) {
		v.Instances = append(v.Instances, InstanceView{
			ID: i.ID, Label: i.Label, Hostname: i.Hostname, Region: i.Region, Plan: i.Plan, MainIP: i.MainIP,
			Status: i.Status, PowerStatus: i.Power, ServerStatus: i.Server, Reboots: i.Reboots, Deleting: i.Deleting,
			Blocks: orEmpty(attached[i.ID]),
		})
	}
	for _, m := range sorted(s.metals.All(), func(m bareMetal) int64 { return m.Seq }) {
		v.BareMetals = append(v.BareMetals, BareMetalView{ID: m.ID, Label: m.Label, Region: m.Region, MainIP: m.MainIP})
	}
	for _, l := range sorted(s.balancers.All(), func(l loadBalancer) int64 { return l.Seq }) {
		v.LoadBalancers = append(v.LoadBalancers, s.viewBalancer(l))
	}
	failures := s.scheduler.Failures()
	open := s.openJobs()
	slices.SortFunc(open, func(a, b jobs.Job) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Seq, b.Seq)) })
	for _, j := range open {
		f := failures[j.ID]
		v.Transitions = append(v.Transitions, TransitionView{Kind: j.Kind, Target: j.Target, Due: j.Due, Attempts: f.Attempts, Error: f.Error})
	}
	return v
}

func (s *Simulator) viewStorage(v *View) {
	for _, snap := range sorted(s.snapshots.All(), func(snap blockSnapshot) int64 { return snap.Seq }) {
		v.Snapshots = append(v.Snapshots, SnapshotView{
			ID: snap.ID, BlockID: snap.BlockID, Description: snap.Description, SizeGB: snap.SizeGB, State: snap.State, Failure: snap.Failure,
		})
	}
	for _, f := range sorted(s.fileSystems.All(), func(f fileSystem) int64 { return f.Seq }) {
		row := FileSystemView{ID: f.ID, Label: f.Label, Region: f.Region, SizeGB: f.SizeGB, Active: f.Active, Attachments: []VFSAttachmentView{}}
		for _, a := range f.Attachments {
			row.Attachments = append(row.Attachments, VFSAttachmentView(a))
		}
		v.FileSystems = append(v.FileSystems, row)
	}
}

func viewBlock(b block) BlockView {
	out := BlockView{
		ID: b.ID, Label: b.Label, Region: b.Region, SizeGB: b.SizeGB, BlockType: b.Type, Active: b.Active,
		MountID: b.mountID(), AttachedTo: b.AttachedTo, Holder: b.Holder,
		SnapshotID: b.SnapshotID, Failure: b.Failure,
	}
	if b.Op != nil {
		out.Pending, out.PendingInstance = b.Op.Kind, b.Op.Instance
	}
	return out
}

func (s *Simulator) viewBalancer(l loadBalancer) LoadBalancerView {
	out := LoadBalancerView{
		ID: l.ID, Label: l.Label, Region: l.Region, Active: l.Active, IPv4: l.Address, Rules: []string{}, Ports: []int{},
		Instances: orEmpty(l.Instances), Backends: []BackendHealth{},
	}
	for _, r := range l.Rules {
		out.Rules = append(out.Rules, r.String())
		out.Ports = append(out.Ports, r.FrontendPort)
	}
	if s.cfg.Balancers != nil {
		out.Backends = orEmpty(s.cfg.Balancers.Health(l.ID))
	}
	return out
}
