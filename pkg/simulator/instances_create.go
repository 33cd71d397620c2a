package simulator

import (
	"context"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// createInstanceRequest is the body of a create; what the simulator has no use for is not read.
type createInstanceRequest struct {
	Region     string   `json:"region"`
	Plan       string   `json:"plan"`
	OSID       int      `json:"os_id"`
	AppID      int      `json:"app_id"`
	ImageID    string   `json:"image_id"`
	ISOID      string   `json:"iso_id"`
	SnapshotID string   `json:"snapshot_id"`
	Label      string   `json:"label"`
	Hostname   string   `json:"hostname"`
	Tags       []string `json:"tags"`
	UserData   string   `json:"user_data"`
	EnableIPv6 bool     `json:"enable_ipv6"`
	EnableVPC  bool     `json:"enable_vpc"`
	AttachVPC  []string `json:"attach_vpc"`
	VPCOnly    bool     `json:"vpc_only"`
}

const (
	maxTags     = 50
	maxUserData = 4 << 20
)

// checkNewInstance judges a create by itself.
func checkNewInstance(req createInstanceRequest) *wire.Error {
	if _, ok := findRegion(req.Region); !ok {
		return wire.BadRequest("Invalid region.")
	}
	if _, ok := findPlan(req.Plan); !ok {
		return wire.BadRequest("Invalid plan.")
	}
	if req.OSID == 0 && req.AppID == 0 && req.ImageID == "" && req.ISOID == "" && req.SnapshotID == "" {
		return wire.BadRequest("Cannot add instance. Invalid os_id")
	}
	if len(req.Tags) > maxTags {
		return wire.BadRequest("Too many tags.")
	}
	if len(req.UserData) > maxUserData {
		return wire.BadRequest("Invalid user_data.")
	}
	if req.VPCOnly && !req.EnableVPC && len(req.AttachVPC) == 0 {
		return wire.BadRequest("vpc_only requires a VPC network.") // the platform's text is unknown
	}
	return nil
}

func (s *Simulator) newInstance(req createInstanceRequest) (instance, *wire.Error) {
	if bad := checkNewInstance(req); bad != nil {
		return instance{}, bad
	}
	h := s.newHead()
	hostname := req.Hostname
	if hostname == "" {
		hostname = strings.ToLower(req.Label)
	}
	if hostname == "" {
		hostname = "vultr"
	}
	return instance{
		head: h, Label: req.Label, Hostname: hostname, Region: req.Region, Plan: req.Plan, OSID: req.OSID,
		Tags: req.Tags, UserData: req.UserData, IPv6: req.EnableIPv6 && !req.VPCOnly, VPCOnly: req.VPCOnly,
		// That it "runs" while it is not even there is what the platform says.
		Status: statusPending, Power: powerRunning, Server: serverNone,
	}, nil
}

func (s *Simulator) createInstance(c *call) (int, any, error) {
	var req createInstanceRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	i, bad := s.newInstance(req)
	if bad != nil {
		return 0, nil, bad
	}
	err := s.update(func(tx *store.Tx) (err error) {
		if bad := s.mayAddInstance(tx); bad != nil {
			return bad
		}
		if i.interfaces, err = s.joinAtCreate(tx, i.ID, i.Region, req.AttachVPC, req.EnableVPC); err != nil {
			return err
		}
		s.instances.Put(tx, i.ID, i)
		s.schedule(tx, jobInstanceBoot, i.ID, "", s.cfg.Delays.InstanceBoot)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"instance": s.showInstance(i)}, nil
}

// bootInstance is the middle of a create: the machine has its address and is stopped and locked.
func (s *Simulator) bootInstance(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		i, ok := s.instances.GetIn(tx, job.Target)
		if !ok || i.Deleting {
			return nil
		}
		if !i.VPCOnly {
			ip, err := s.freeAddress(tx)
			if err != nil {
				return err
			}
			i.MainIP = ip
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
