package simulator

import (
	"context"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// createMetalRequest is the body of a create; what the simulator has no use for is not read.
type createMetalRequest struct {
	sourceRequest
	Region       string   `json:"region"`
	Plan         string   `json:"plan"`
	Label        string   `json:"label"`
	Hostname     string   `json:"hostname"`
	Tags         []string `json:"tags"`
	UserData     string   `json:"user_data"`
	UserScheme   string   `json:"user_scheme"`
	EnableIPv6   bool     `json:"enable_ipv6"`
	EnableVPC    bool     `json:"enable_vpc"`
	AttachVPC    []string `json:"attach_vpc"`
	SSHKeys      []string `json:"sshkey_id"`
	Script       string   `json:"script_id"`
	ReservedIPv4 string   `json:"reserved_ipv4"`
}

func (s *Simulator) createMetal(c *call) (int, any, error) {
	var req createMetalRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	var m bareMetal
	err := s.update(func(tx *store.Tx) error {
		var bad *wire.Error
		if m, bad = s.newMetal(tx, req); bad != nil {
			return bad
		}
		var err error
		if m.interfaces, err = s.joinAtCreate(tx, m.ID, m.Region, req.AttachVPC, req.EnableVPC); err != nil {
			return err
		}
		s.metals.Put(tx, m.ID, m)
		s.schedule(tx, jobMetalReady, m.ID, "", s.cfg.Delays.BareMetal)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	body := s.metalBody(m)
	body["default_password"] = newRuleID()
	return s.accepted(), map[string]any{"bare_metal": body}, nil
}

func (s *Simulator) newMetal(tx *store.Tx, req createMetalRequest) (bareMetal, *wire.Error) {
	if _, ok := findRegion(req.Region); !ok {
		return bareMetal{}, ours("Invalid region.")
	}
	if _, ok := findMetalPlan(req.Plan); !ok {
		return bareMetal{}, ours("Invalid plan.")
	}
	if bad := checkServerTexts(req.Tags, req.UserData, req.UserScheme, ""); bad != nil {
		return bareMetal{}, bad
	}
	system, bad := req.system()
	if bad != nil {
		return bareMetal{}, bad
	}
	keys, bad := s.sshKeyTexts(tx, req.SSHKeys)
	if bad != nil {
		return bareMetal{}, bad
	}
	script, bad := s.scriptText(tx, req.Script)
	if bad != nil {
		return bareMetal{}, bad
	}
	m := bareMetal{
		head: s.newHead(), Label: req.Label, Hostname: hostnameOf(req.Hostname, req.Label), Region: req.Region, Plan: req.Plan,
		Tags: req.Tags, Power: powerRunning, Pending: true, OSID: system, AppID: req.AppID, ImageID: req.ImageID,
		SnapshotID: req.SnapshotID, IPv6: req.EnableIPv6, UserData: req.UserData, UserScheme: req.UserScheme, SSHKeys: keys,
		StartupScript: script,
	}
	if req.ReservedIPv4 != "" {
		m.Reserved, bad = s.reservedMainIP(tx, req.ReservedIPv4, m.ID, m.Region)
	}
	return m, bad
}

// readyMetal ends a create or an installation.
func (s *Simulator) readyMetal(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) (err error) {
		m, ok := s.metals.GetIn(tx, job.Target)
		if !ok {
			return nil
		}
		switch {
		case m.MainIP != "":
		case m.Reserved != "":
			m.MainIP = m.Reserved
		default:
			if m.MainIP, err = s.freeAddress(tx); err != nil {
				return err
			}
		}
		m.Pending, m.Power = false, powerRunning
		s.metals.Put(tx, m.ID, m)
		s.settleBalancersOf(tx, m.ID)
		return nil
	}, nil
}

// checkMetal demands a server that accepts changes.
func (s *Simulator) checkMetal(tx *store.Tx, id string) error {
	m, ok := s.metals.GetIn(tx, id)
	switch {
	case !ok:
		return errNoMetal
	case m.Pending:
		return wire.BadRequest("Server is currently locked")
	}
	return nil
}

// changeMetal changes a server at once; a pending one only if the change is only of the record.
func (s *Simulator) changeMetal(id string, change func(tx *store.Tx, m bareMetal) (bareMetal, error)) (bareMetal, error) {
	var m bareMetal
	err := s.update(func(tx *store.Tx) (err error) {
		var ok bool
		if m, ok = s.metals.GetIn(tx, id); !ok {
			return errNoMetal
		}
		if m, err = change(tx, m); err != nil {
			return err
		}
		s.metals.Put(tx, id, m)
		return nil
	})
	return m, err
}

func (s *Simulator) updateMetal(c *call) (int, any, error) {
	var req struct {
		sourceRequest
		Label      *string   `json:"label"`
		Tags       *[]string `json:"tags"`
		UserData   *string   `json:"user_data"`
		EnableIPv6 bool      `json:"enable_ipv6"`
		UserScheme string    `json:"user_scheme"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	m, err := s.changeMetal(c.id(), func(tx *store.Tx, m bareMetal) (bareMetal, error) {
		set(&m.Label, req.Label)
		set(&m.Tags, req.Tags)
		set(&m.UserData, req.UserData)
		m.IPv6 = m.IPv6 || req.EnableIPv6
		if req.UserScheme != "" {
			m.UserScheme = req.UserScheme
		}
		if bad := checkServerTexts(m.Tags, m.UserData, m.UserScheme, ""); bad != nil {
			return m, bad
		}
		if req.OSID == 0 && req.AppID == 0 && req.ImageID == "" {
			return m, nil
		}
		system, bad := req.system()
		if bad != nil {
			return m, bad
		}
		m.OSID, m.AppID, m.ImageID, m.SnapshotID = system, req.AppID, req.ImageID, ""
		return s.installMetal(tx, m)
	})
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"bare_metal": s.showMetal(m)}, nil
}

// installMetal begins an installation again.
func (s *Simulator) installMetal(tx *store.Tx, m bareMetal) (bareMetal, error) {
	if err := s.checkMetal(tx, m.ID); err != nil {
		return m, err
	}
	m.Pending = true
	s.settleBalancersOf(tx, m.ID)
	s.schedule(tx, jobMetalReady, m.ID, "", s.cfg.Delays.BareMetal)
	return m, nil
}

func (s *Simulator) reinstallMetal(c *call) (int, any, error) {
	m, err := s.changeMetal(c.id(), s.installMetal)
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"bare_metal": s.showMetal(m)}, nil
}

func (s *Simulator) deleteMetal(c *call) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		if _, ok := s.metals.GetIn(tx, c.id()); !ok {
			return errNoMetal
		}
		s.destroyMetal(tx, c.id())
		return nil
	})
	return s.noContent(), nil, err
}

// destroyMetal lets a server and what it had go.
func (s *Simulator) destroyMetal(tx *store.Tx, id string) {
	m, ok := s.metals.GetIn(tx, id)
	if !ok {
		return
	}
	s.metals.Delete(tx, id)
	s.dropBackend(tx, id)
	s.freeReservedIPs(tx, id)
	s.depart(tx, departure{head: m.head, Address: m.MainIP, VPCs: m.vpcIDs()})
}

// powerMetals accepts a change of power of all servers that are named, or of none.
func (s *Simulator) powerMetals(state string, delay time.Duration, ids ...string) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		for _, id := range ids {
			if err := s.checkMetal(tx, id); err != nil {
				return err
			}
			s.schedule(tx, jobMetalPower, id, state, delay+s.powerBacklog(tx, id))
		}
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) powerAllMetals(c *call, state string, delay time.Duration) (int, any, error) {
	var req struct {
		IDs []string `json:"baremetal_ids"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	if len(req.IDs) == 0 {
		return 0, nil, ours("Invalid baremetal_ids.")
	}
	return s.powerMetals(state, delay, req.IDs...)
}

func (s *Simulator) finishMetalPower(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		if m, ok := s.metals.GetIn(tx, job.Target); ok {
			m.Power = job.Arg
			s.metals.Put(tx, m.ID, m)
			s.settleBalancersOf(tx, m.ID)
		}
		return nil
	}, nil
}

func (s *Simulator) haltMetal(c *call) (int, any, error) {
	return s.powerMetals(powerStopped, s.cfg.Delays.Halt, c.id())
}

func (s *Simulator) startMetal(c *call) (int, any, error) {
	return s.powerMetals(powerRunning, s.cfg.Delays.Start, c.id())
}

func (s *Simulator) rebootMetal(c *call) (int, any, error) {
	return s.powerMetals(powerRunning, s.cfg.Delays.Reboot, c.id())
}

func (s *Simulator) haltMetals(c *call) (int, any, error) {
	return s.powerAllMetals(c, powerStopped, s.cfg.Delays.Halt)
}

func (s *Simulator) startMetals(c *call) (int, any, error) {
	return s.powerAllMetals(c, powerRunning, s.cfg.Delays.Start)
}

func (s *Simulator) rebootMetals(c *call) (int, any, error) {
	return s.powerAllMetals(c, powerRunning, s.cfg.Delays.Reboot)
}

func (s *Simulator) attachMetalVPC(c *call) (int, any, error) { return s.moveMetal(c, false) }
func (s *Simulator) detachMetalVPC(c *call) (int, any, error) { return s.moveMetal(c, true) }

func (s *Simulator) moveMetal(c *call, leave bool) (int, any, error) {
	var req vpcServerRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	_, err := s.changeMetal(c.id(), func(tx *store.Tx, m bareMetal) (bareMetal, error) {
		if err := s.checkMetal(tx, m.ID); err != nil {
			return m, err
		}
		var err error
		m.interfaces, err = s.move(tx, m.ID, m.Region, m.interfaces, vpcMove{VPC: req.VPC, Leave: leave})
		return m, err
	})
	return s.noContent(), nil, err
}
