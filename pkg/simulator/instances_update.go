package simulator

import (
	"context"
	"net/http"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// updateInstanceRequest is the body of an update. What is left out or null keeps its value.
type updateInstanceRequest struct {
	Plan       *string   `json:"plan"`
	Label      *string   `json:"label"`
	Tags       *[]string `json:"tags"`
	OSID       int       `json:"os_id"`
	AppID      int       `json:"app_id"`
	ImageID    string    `json:"image_id"`
	EnableIPv6 *bool     `json:"enable_ipv6"`
	EnableVPC  bool      `json:"enable_vpc"`
	AttachVPC  []string  `json:"attach_vpc"`
	DetachVPC  []string  `json:"detach_vpc"`
	Backups    string    `json:"backups"`
	DDOS       *bool     `json:"ddos_protection"`
	UserData   *string   `json:"user_data"`
	Firewall   *string   `json:"firewall_group_id"`
	UserScheme string    `json:"user_scheme"`
}

// restarts reports whether the update needs the machine, which must not be busy then.
func (r updateInstanceRequest) restarts(i instance) bool {
	return (r.Plan != nil && *r.Plan != i.Plan) || r.reinstalls() || r.EnableVPC || len(r.AttachVPC)+len(r.DetachVPC) > 0
}

func (r updateInstanceRequest) reinstalls() bool {
	return r.OSID != 0 || r.AppID != 0 || r.ImageID != ""
}

func (s *Simulator) updateInstance(c *call) (int, any, error) {
	var req updateInstanceRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	var i instance
	err := s.update(func(tx *store.Tx) error {
		var ok bool
		if i, ok = s.instances.GetIn(tx, c.id()); !ok {
			return errNoInstance
		}
		if req.restarts(i) || i.Deleting {
			if _, err := s.settledInstance(tx, c.id()); err != nil {
				return err
			}
		}
		var err error
		if i, err = s.updatedInstance(tx, i, req); err != nil {
			return err
		}
		s.instances.Put(tx, i.ID, i)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"instance": s.showInstance(i)}, nil
}

// updatedInstance is the instance after an update, or why it is refused. What takes time is scheduled.
func (s *Simulator) updatedInstance(tx *store.Tx, i instance, req updateInstanceRequest) (instance, error) {
	var tags []string
	set(&tags, req.Tags)
	var data string
	set(&data, req.UserData)
	if bad := checkServerTexts(tags, data, req.UserScheme, req.Backups); bad != nil {
		return i, bad
	}
	set(&i.Label, req.Label)
	set(&i.Tags, req.Tags)
	set(&i.DDOS, req.DDOS)
	if req.EnableIPv6 != nil && *req.EnableIPv6 && !i.VPCOnly { // there is no way back
		i.IPv6 = true
	}
	if req.UserScheme != "" {
		i.UserScheme = req.UserScheme
	}
	if req.Firewall != nil {
		if bad := s.checkFirewallGroup(tx, *req.Firewall); bad != nil {
			return i, bad
		}
		i.FirewallGroup = *req.Firewall
		s.filterAnew(tx, i.ID)
	}
	i.Backups = i.backupsAfter(req.Backups)
	if req.UserData != nil {
		i = s.withUserData(tx, i, *req.UserData)
	}
	if req.Plan != nil && *req.Plan != i.Plan {
		if !slices.Contains(upgradePlans(i.Plan, i.Region), *req.Plan) {
			return i, ours("Invalid plan.")
		}
		i.Status, i.Server = statusResizing, serverLocked
		s.schedule(tx, jobInstanceResize, i.ID, *req.Plan, s.cfg.Delays.InstanceReady)
	}
	if req.reinstalls() {
		system, bad := sourceRequest{OSID: req.OSID, AppID: req.AppID, ImageID: req.ImageID}.system()
		if bad != nil {
			return i, bad
		}
		i.OSID, i.AppID, i.ImageID, i.SnapshotID = system, req.AppID, req.ImageID, ""
		i = s.reinstalled(tx, i)
	}
	return s.moved(tx, i, req)
}

// moved accepts the changes of VPCs that an update names.
func (s *Simulator) moved(tx *store.Tx, i instance, req updateInstanceRequest) (instance, error) {
	var moves []vpcMove
	for _, id := range req.DetachVPC {
		moves = append(moves, vpcMove{VPC: id, Leave: true})
	}
	for _, id := range req.AttachVPC {
		moves = append(moves, vpcMove{VPC: id})
	}
	if req.EnableVPC && len(moves) == 0 && len(i.after()) == 0 {
		id, bad := s.defaultVPC(tx, i.Region)
		if bad != nil {
			return i, bad
		}
		moves = append(moves, vpcMove{VPC: id})
	}
	var err error
	i.interfaces, err = s.move(tx, i.ID, i.Region, i.interfaces, moves...)
	return i, err
}

// withUserData changes the user data; the guest sees that a little later.
func (s *Simulator) withUserData(tx *store.Tx, i instance, data string) instance {
	if i.StaleUserData == nil && s.keeps(quirkLateUserData) {
		old := i.UserData
		i.StaleUserData = &old
	}
	i.UserData = data
	s.schedule(tx, jobInstanceUserData, i.ID, "", s.cfg.Delays.UserData)
	return i
}

func (s *Simulator) showUserData(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		s.changeInstance(tx, job.Target, func(i *instance) { i.StaleUserData = nil })
		return nil
	}, nil
}

// upgradePlans are the plans that an instance can change to: larger ones of the same kind in its region. A disk never
// becomes smaller.
func upgradePlans(current, region string) []string {
	out := []string{}
	old, _ := findPlan(current)
	for _, p := range allPlans {
		if p.ID != old.ID && p.Type == old.Type && p.Disk >= old.Disk && p.RAM >= old.RAM && p.soldIn(region) {
			out = append(out, p.ID)
		}
	}
	return out
}

// finishResize restarts the machine as one of the new plan.
func (s *Simulator) finishResize(ctx context.Context, job jobs.Job) (commit, error) {
	i, ok := s.instances.Get(job.Target)
	if !ok || i.Deleting {
		return nil, nil
	}
	restarted, err := s.aroundRestart(ctx, i, false, func(context.Context) error { return nil })
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		s.changeInstance(tx, i.ID, func(i *instance) { i.Plan, i.Status, i.Server = job.Arg, statusActive, serverOK })
		s.countRestart(tx, i.ID, restarted)
		s.settleBalancersOf(tx, i.ID)
		return nil
	}, nil
}

func (s *Simulator) reinstallInstance(c *call) (int, any, error) {
	var req struct {
		Hostname string `json:"hostname"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	var i instance
	err := s.update(func(tx *store.Tx) (err error) {
		if i, err = s.settledInstance(tx, c.id()); err != nil {
			return err
		}
		if req.Hostname != "" {
			i.Hostname = req.Hostname
		}
		i = s.reinstalled(tx, i)
		s.instances.Put(tx, i.ID, i)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"instance": s.showInstanceWithPassword(i)}, nil
}

// reinstalled begins the installation of an instance again.
func (s *Simulator) reinstalled(tx *store.Tx, i instance) instance {
	i.Server = serverInstalling
	s.schedule(tx, jobInstanceReinstall, i.ID, "", 0)
	return i
}

// finishReinstall kills the machine; the new one starts when it is installed.
func (s *Simulator) finishReinstall(ctx context.Context, job jobs.Job) (commit, error) {
	i, ok := s.instances.Get(job.Target)
	if !ok || i.Deleting {
		return nil, nil
	}
	if err := s.killMachine(ctx, i); err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		s.changeInstance(tx, i.ID, func(i *instance) { i.Power, i.Reboots = powerStopped, i.Reboots+1 })
		s.settleBalancersOf(tx, i.ID)
		s.schedule(tx, jobInstanceReady, i.ID, "", s.cfg.Delays.InstanceReady)
		return nil
	}, nil
}

func (s *Simulator) instanceUpgrades(c *call) (int, any, error) {
	i, ok := s.instances.Get(c.id())
	if !ok {
		return 0, nil, errNoInstance
	}
	all := map[string]any{"applications": allApplications, "os": allSystems, "plans": upgradePlans(i.Plan, i.Region)}
	kind := c.req.URL.Query().Get("type")
	if kind == "" || kind == "all" {
		return http.StatusOK, map[string]any{"upgrades": all}, nil
	}
	if _, ok := all[kind]; !ok {
		return 0, nil, ours("Invalid type.")
	}
	return http.StatusOK, map[string]any{"upgrades": map[string]any{kind: all[kind]}}, nil
}
