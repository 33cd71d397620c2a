package simulator

import (
	"cmp"
	"context"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// createInstanceRequest is the body of a create; what the simulator has no use for is not read.
type createInstanceRequest struct {
	sourceRequest
	Region       string        `json:"region"`
	Plan         string        `json:"plan"`
	Label        string        `json:"label"`
	Hostname     string        `json:"hostname"`
	Tags         []string      `json:"tags"`
	UserData     string        `json:"user_data"`
	EnableIPv6   bool          `json:"enable_ipv6"`
	EnableVPC    bool          `json:"enable_vpc"`
	AttachVPC    []string      `json:"attach_vpc"`
	VPCOnly      bool          `json:"vpc_only"`
	NoPublicIPv4 bool          `json:"disable_public_ipv4"`
	SSHKeys      []string      `json:"sshkey_id"`
	Script       string        `json:"script_id"`
	Firewall     string        `json:"firewall_group_id"`
	ReservedIPv4 string        `json:"reserved_ipv4"`
	Backups      string        `json:"backups"`
	DDOS         bool          `json:"ddos_protection"`
	UserScheme   string        `json:"user_scheme"`
	BlockDevices []blockDevice `json:"block_devices"`
}

// sourceRequest says what a server is installed from; one of it has to be given.
type sourceRequest struct {
	OSID       int    `json:"os_id"`
	AppID      int    `json:"app_id"`
	ImageID    string `json:"image_id"`
	ISOID      string `json:"iso_id"`
	SnapshotID string `json:"snapshot_id"`
}

// blockDevice is a volume that a new instance begins with: one that is there, or a new one.
type blockDevice struct {
	ID       string `json:"block_id"`
	Bootable bool   `json:"bootable"`
	SizeGB   int    `json:"disk_size"`
	Label    string `json:"label"`
}

const (
	maxTags     = 50
	maxUserData = 4 << 20

	schemeRoot    = "root"
	schemeLimited = "limited"

	backupsEnabled  = "enabled"
	backupsDisabled = "disabled"
)

var errInvalidOS = wire.BadRequest("Cannot add instance. Invalid os_id")

// system returns the OS ID that stands for the source.
func (r sourceRequest) system() (int, *wire.Error) {
	switch {
	case r.OSID != 0:
		if _, ok := findSystem(r.OSID); !ok {
			return 0, errInvalidOS
		}
		return r.OSID, nil
	case r.AppID != 0, r.ImageID != "":
		return osApplication, nil
	case r.SnapshotID != "":
		return osSnapshot, nil
	case r.ISOID != "":
		return osISO, nil
	}
	return 0, errInvalidOS
}

// checkNewInstance judges a create by itself.
func checkNewInstance(req createInstanceRequest) *wire.Error {
	p, planExists := findPlan(req.Plan)
	_, regionExists := findRegion(req.Region)
	switch {
	case !regionExists:
		return ours("Invalid region.")
	case !planExists || !p.soldIn(req.Region):
		return ours("Invalid plan.")
	case req.VPCOnly && !req.EnableVPC && len(req.AttachVPC) == 0:
		return ours("vpc_only requires a VPC network.")
	case req.NoPublicIPv4 && !req.EnableIPv6 && !req.VPCOnly:
		return ours("disable_public_ipv4 requires enable_ipv6.")
	}
	return checkServerTexts(req.Tags, req.UserData, req.UserScheme, req.Backups)
}

// checkServerTexts judges what creates and updates have in common.
func checkServerTexts(tags []string, userData, scheme, backups string) *wire.Error {
	switch {
	case len(tags) > maxTags:
		return ours("Too many tags.")
	case len(userData) > maxUserData:
		return ours("Invalid user_data.")
	case scheme != "" && scheme != schemeRoot && scheme != schemeLimited:
		return ours("Invalid user_scheme.")
	case backups != "" && backups != backupsEnabled && backups != backupsDisabled:
		return ours("Invalid backups.")
	}
	return nil
}

// newInstance is the instance that a create makes, or why it is refused.
func (s *Simulator) newInstance(tx *store.Tx, req createInstanceRequest) (instance, *wire.Error) {
	system, bad := req.system()
	if bad != nil {
		return instance{}, bad
	}
	keys, bad := s.sshKeyTexts(tx, req.SSHKeys)
	if bad != nil {
		return instance{}, bad
	}
	script, bad := s.scriptText(tx, req.Script)
	if bad != nil {
		return instance{}, bad
	}
	if bad := s.checkFirewallGroup(tx, req.Firewall); bad != nil {
		return instance{}, bad
	}
	i := instance{
		head: s.newHead(), Label: req.Label, Hostname: hostnameOf(req.Hostname, req.Label), Region: req.Region, Plan: req.Plan,
		OSID: system, AppID: req.AppID, ImageID: req.ImageID, SnapshotID: req.SnapshotID, Tags: req.Tags, UserData: req.UserData,
		IPv6: req.EnableIPv6 && !req.VPCOnly, VPCOnly: req.VPCOnly, NoPublicIPv4: req.NoPublicIPv4 || req.VPCOnly,
		SSHKeys: keys, StartupScript: script, FirewallGroup: req.Firewall, UserScheme: req.UserScheme, DDOS: req.DDOS,
		// That it "runs" while it is not even there is what the platform says.
		Status: statusPending, Power: powerRunning, Server: serverNone, Incomplete: true,
	}
	if req.Backups == backupsEnabled {
		i.Backups = &backupSchedule{Type: "daily"}
	}
	if req.ReservedIPv4 != "" {
		i.Reserved, bad = s.reservedMainIP(tx, req.ReservedIPv4, i.ID, i.Region)
	}
	return i, bad
}

// hostnameOf is the name that a guest gets when none is given.
func hostnameOf(hostname, label string) string {
	return cmp.Or(hostname, strings.ToLower(label), "vultr")
}

func (s *Simulator) createInstance(c *call) (int, any, error) {
	var req createInstanceRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	if bad := checkNewInstance(req); bad != nil {
		return 0, nil, bad
	}
	var i instance
	err := s.update(func(tx *store.Tx) (err error) {
		i, err = s.beginInstance(tx, req)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"instance": s.showInstanceWithPassword(i)}, nil
}

// beginInstance makes an instance and begins its life.
func (s *Simulator) beginInstance(tx *store.Tx, req createInstanceRequest) (instance, error) {
	if bad := s.mayAddInstance(tx); bad != nil {
		return instance{}, bad
	}
	i, bad := s.newInstance(tx, req)
	if bad != nil {
		return i, bad
	}
	var err error
	if i.interfaces, err = s.joinAtCreate(tx, i.ID, i.Region, req.AttachVPC, req.EnableVPC); err != nil {
		return i, err
	}
	for _, d := range req.BlockDevices {
		if err := s.attachAtCreate(tx, i, d); err != nil {
			return i, err
		}
	}
	s.instances.Put(tx, i.ID, i)
	s.schedule(tx, jobInstanceBoot, i.ID, "", s.cfg.Delays.InstanceBoot)
	s.schedule(tx, jobInstanceComplete, i.ID, "", s.cfg.Delays.InstanceBoot+s.cfg.Delays.InstanceDetails)
	return i, nil
}

// attachAtCreate begins the attachment of a volume that a new instance is to have from its first boot.
func (s *Simulator) attachAtCreate(tx *store.Tx, i instance, d blockDevice) error {
	b, exists := s.blocks.GetIn(tx, d.ID)
	switch {
	case d.ID == "":
		var bad *wire.Error
		if b, bad = s.newBlock(createBlockRequest{Region: i.Region, SizeGB: d.SizeGB, Label: d.Label, Bootable: d.Bootable}); bad != nil {
			return bad
		}
		s.schedule(tx, jobBlockActivate, b.ID, "", s.cfg.Delays.BlockCreate)
	case !exists:
		return errNoBlock
	case b.AttachedTo != "" || b.Op != nil:
		return wire.BadRequest("Block storage is already attached to another server")
	case b.Region != i.Region:
		return ours("Block storage and server must be in the same region.")
	}
	b.Op = &blockOp{Kind: opAttach, Instance: i.ID, Live: true}
	s.blocks.Put(tx, b.ID, b)
	s.schedule(tx, jobBlockAttach, b.ID, "", max(s.cfg.Delays.InstanceBoot, s.cfg.Delays.BlockCreate), i.ID)
	return nil
}

// bootInstance is the middle of a create: the machine has its address and is stopped and locked.
func (s *Simulator) bootInstance(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		i, ok := s.instances.GetIn(tx, job.Target)
		if !ok || i.Deleting {
			return nil
		}
		var err error
		if i.Reserved != "" {
			i.MainIP = i.Reserved
		} else if !i.NoPublicIPv4 && !i.VPCOnly {
			if i.MainIP, err = s.freeAddress(tx); err != nil {
				return err
			}
		}
		i.Status, i.Power, i.Server = statusActive, powerStopped, serverLocked
		if !s.keeps(quirkPowerStatus) {
			i.Power = powerRunning
		}
		s.instances.Put(tx, i.ID, i)
		s.schedule(tx, jobInstanceReady, i.ID, "", s.cfg.Delays.InstanceReady)
		return nil
	}, nil
}

// completeInstance makes the sub-resources of a new instance appear that are late.
func (s *Simulator) completeInstance(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		s.changeInstance(tx, job.Target, func(i *instance) { i.Incomplete = false })
		return nil
	}, nil
}

// showInstanceWithPassword is what a create answers: the password is shown only then.
func (s *Simulator) showInstanceWithPassword(i instance) any {
	body := s.instanceBody(i)
	body.DefaultPassword = newRuleID()
	return body
}
