package simulator

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// interfaces are a server's places in VPCs.
type interfaces struct {
	NICs []nic `json:"nics,omitempty"`
	// Moves are changes that were accepted and wait for the server's restart.
	Moves []vpcMove `json:"moves,omitempty"`
}

// nic is one interface in a VPC.
type nic struct {
	VPC     string    `json:"vpc"`
	Address string    `json:"address"`
	MAC     string    `json:"mac"`
	Added   time.Time `json:"added"`
	// Shown interfaces are visible in the API and to the guest.
	Shown bool `json:"shown"`
}

// vpcMove is a server's way into a VPC, or out of it.
type vpcMove struct {
	VPC   string `json:"vpc"`
	Leave bool   `json:"leave,omitempty"`
}

// after tells in which VPCs the server is when everything that was accepted is done.
func (n interfaces) after() []string {
	in := n.vpcIDs()
	for _, m := range n.Moves {
		if m.Leave {
			in = slices.DeleteFunc(in, func(id string) bool { return id == m.VPC })
		} else {
			in = append(in, m.VPC)
		}
	}
	return in
}

// touches reports whether the server is in the VPC, on its way into it, or not out of it yet.
func (n interfaces) touches(vpcID string) bool {
	return slices.ContainsFunc(n.NICs, func(i nic) bool { return i.VPC == vpcID }) ||
		slices.ContainsFunc(n.Moves, func(m vpcMove) bool { return m.VPC == vpcID })
}

// vpcIDs names the VPCs that the server is in.
func (n interfaces) vpcIDs() []string {
	var ids []string
	for _, i := range n.NICs {
		ids = append(ids, i.VPC)
	}
	return ids
}

// shown are the interfaces that the API and the guest see.
func (n interfaces) shown() []nic {
	return slices.DeleteFunc(slices.Clone(n.NICs), func(i nic) bool { return !i.Shown })
}

// firstVPCHost is where the platform begins to hand out addresses of a VPC.
const firstVPCHost = 3

// join gives the server an interface in the VPC: the lowest free address and the lowest free MAC.
func (s *Simulator) join(tx *store.Tx, serverID string, n interfaces, vpcID string, shown bool) (interfaces, error) {
	v, ok := s.vpcs.GetIn(tx, vpcID)
	if !ok {
		return n, errNoVPC
	}
	used := map[string]bool{}
	for _, i := range s.instances.AllIn(tx) {
		i.markUsed(used, vpcID)
	}
	for _, m := range s.metals.AllIn(tx) {
		m.markUsed(used, vpcID)
	}
	n.markUsed(used, vpcID)
	address := v.prefix().Addr()
	for range firstVPCHost {
		address = address.Next()
	}
	for used[address.String()] {
		address = address.Next()
	}
	if !v.prefix().Contains(address.Next()) { // the last one is the broadcast address
		return n, errVPCFull
	}
	macs := map[string]bool{}
	for _, i := range n.NICs {
		macs[i.MAC] = true
	}
	index := byte(0)
	for macs[macOf(serverID, 0x5a, index)] {
		index++
	}
	added := nic{VPC: vpcID, Address: address.String(), MAC: macOf(serverID, 0x5a, index), Added: time.Now(), Shown: shown}
	n.NICs = append(slices.Clone(n.NICs), added)
	return n, nil
}

func (n interfaces) markUsed(used map[string]bool, vpcID string) {
	for _, i := range n.NICs {
		if i.VPC == vpcID {
			used[i.Address] = true
		}
	}
}

// mayMove judges a server's way into or out of a VPC.
func (s *Simulator) mayMove(tx *store.Tx, region string, n interfaces, m vpcMove) *wire.Error {
	v, ok := s.vpcs.GetIn(tx, m.VPC)
	inside := slices.Contains(n.after(), m.VPC)
	switch {
	case !ok:
		return errNoVPC
	case v.Region != region:
		return ours("VPC network and server must be in the same region.")
	case m.Leave && !inside:
		return ours("VPC network is not attached to this server.")
	case !m.Leave && inside:
		return ours("VPC network is already attached to this server.")
	case !m.Leave && s.isFull(tx, v):
		return errVPCFull
	}
	return nil
}

var errVPCFull = ours("No address is left in this VPC network.")

// isFull reports whether no address would be left for one more server, after those that are on their way into the VPC.
func (s *Simulator) isFull(tx *store.Tx, v vpc) bool {
	count := 0
	add := func(n interfaces) {
		if n.touches(v.ID) {
			count++
		}
	}
	for _, i := range s.instances.AllIn(tx) {
		add(i.interfaces)
	}
	for _, m := range s.metals.AllIn(tx) {
		add(m.interfaces)
	}
	return count >= 1<<(32-v.Mask)-firstVPCHost-1 // the last one is the broadcast address
}

// defaultVPC returns the VPC that enable_vpc means: the region's oldest one, or a new one.
func (s *Simulator) defaultVPC(tx *store.Tx, region string) (string, *wire.Error) {
	for _, v := range sorted(s.vpcs.AllIn(tx), func(v vpc) int64 { return v.Seq }) {
		if v.Region == region {
			return v.ID, nil
		}
	}
	v, bad := s.newVPC(tx, vpcRequest{Region: region, Description: "Default private network"})
	if bad != nil {
		return "", bad
	}
	s.vpcs.Put(tx, v.ID, v)
	return v.ID, nil
}

// joinAtCreate puts a new server into VPCs; its addresses become visible a little later.
func (s *Simulator) joinAtCreate(tx *store.Tx, serverID, region string, vpcs []string, enable bool) (interfaces, error) {
	var n interfaces
	if enable && len(vpcs) == 0 {
		id, bad := s.defaultVPC(tx, region)
		if bad != nil {
			return n, bad
		}
		vpcs = []string{id}
	}
	for _, id := range vpcs {
		if bad := s.mayMove(tx, region, n, vpcMove{VPC: id}); bad != nil {
			return n, bad
		}
		var err error
		if n, err = s.join(tx, serverID, n, id, false); err != nil {
			return n, err
		}
	}
	if len(n.NICs) > 0 {
		s.schedule(tx, jobVPCAddress, serverID, "", s.cfg.Delays.VPCAddress)
	}
	return n, nil
}

// showVPCAddresses makes the addresses of a new server in its VPCs visible.
func (s *Simulator) showVPCAddresses(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		s.changeInterfaces(tx, job.Target, func(n interfaces) interfaces {
			n.NICs = slices.Clone(n.NICs)
			for i := range n.NICs {
				n.NICs[i].Shown = true
			}
			return n
		})
		return nil
	}, nil
}

// changeInterfaces changes the interfaces of a server of either kind, if it still is.
func (s *Simulator) changeInterfaces(tx *store.Tx, serverID string, change func(interfaces) interfaces) {
	s.changeInstance(tx, serverID, func(i *instance) { i.interfaces = change(i.interfaces) })
	if m, ok := s.metals.GetIn(tx, serverID); ok {
		m.interfaces = change(m.interfaces)
		s.metals.Put(tx, serverID, m)
	}
	s.settleBalancersOf(tx, serverID) // those in a VPC may reach it now, or not any more
}

// move accepts changes of a server's VPCs, which a restart brings about.
func (s *Simulator) move(tx *store.Tx, serverID, region string, n interfaces, moves ...vpcMove) (interfaces, error) {
	for _, m := range moves {
		if bad := s.mayMove(tx, region, n, m); bad != nil {
			return n, bad
		}
		n.Moves = append(slices.Clone(n.Moves), m)
	}
	if len(moves) > 0 {
		s.schedule(tx, jobVPCMove, serverID, "", s.cfg.Delays.VPCAttach)
	}
	return n, nil
}

// finishMove restarts the server and makes the changes that were accepted by then.
func (s *Simulator) finishMove(ctx context.Context, job jobs.Job) (commit, error) {
	server, isInstance := s.instances.Get(job.Target)
	metal, isMetal := s.metals.Get(job.Target)
	moves := slices.Concat(server.Moves, metal.Moves)
	if len(moves) == 0 || server.Deleting || (!isInstance && !isMetal) {
		return nil, nil
	}
	restarted := false
	if isInstance {
		var err error
		if restarted, err = s.aroundRestart(ctx, server, !s.keeps(quirkVPCReboots), func(context.Context) error { return nil }); err != nil {
			return nil, err
		}
	}
	return func(tx *store.Tx) error {
		var failed error
		s.changeInterfaces(tx, job.Target, func(n interfaces) interfaces {
			n.Moves = slices.Clone(n.Moves[len(moves):])
			for _, m := range moves {
				if m.Leave {
					n.NICs = slices.DeleteFunc(slices.Clone(n.NICs), func(i nic) bool { return i.VPC == m.VPC })
					continue
				}
				if n, failed = s.join(tx, job.Target, n, m.VPC, true); failed != nil {
					return n
				}
			}
			return n
		})
		s.countRestart(tx, job.Target, restarted)
		return failed
	}, nil
}

type vpcServerRequest struct {
	VPC string `json:"vpc_id"`
}

func (s *Simulator) attachInstanceVPC(c *call) (int, any, error) { return s.moveInstance(c, false) }
func (s *Simulator) detachInstanceVPC(c *call) (int, any, error) { return s.moveInstance(c, true) }

func (s *Simulator) moveInstance(c *call, leave bool) (int, any, error) {
	var req vpcServerRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.update(func(tx *store.Tx) error {
		i, err := s.settledInstance(tx, c.id())
		if err != nil {
			return err
		}
		if i.interfaces, err = s.move(tx, i.ID, i.Region, i.interfaces, vpcMove{VPC: req.VPC, Leave: leave}); err != nil {
			return err
		}
		s.instances.Put(tx, i.ID, i)
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) listInstanceVPCs(c *call) (int, any, error) {
	i, ok := s.instances.Get(c.id())
	if !ok {
		return 0, nil, errNoInstance
	}
	return fixedList(c, "vpcs", i.addresses())
}

// vpcAddress is a server's interface in a VPC as the server's sub-resource shows it.
type vpcAddress struct {
	ID         string `json:"id"`
	MACAddress string `json:"mac_address"`
	IPAddress  string `json:"ip_address"`
}

func (n interfaces) addresses() []vpcAddress {
	out := []vpcAddress{}
	for _, i := range n.shown() {
		out = append(out, vpcAddress{ID: i.VPC, MACAddress: i.MAC, IPAddress: i.Address})
	}
	return out
}

// vpcBodies are the networks as the server itself shows them.
func (s *Simulator) vpcBodies(n interfaces) []vpcBody {
	out := []vpcBody{}
	for _, i := range n.shown() {
		v, _ := s.vpcs.Get(i.VPC)
		out = append(out, vpcBody{ID: i.VPC, Subnet: v.Subnet + "/" + strconv.Itoa(v.Mask)})
	}
	return out
}

// internalIP is the first address in a VPC, "" without any.
func (n interfaces) internalIP() string {
	if shown := n.shown(); len(shown) > 0 {
		return shown[0].Address
	}
	return ""
}

// vpcUsers returns the public addresses of what keeps a VPC from being deleted. What is destroyed keeps it a while longer.
func (s *Simulator) vpcUsers(tx *store.Tx, id string) []string {
	type user struct {
		seq     int64
		address string
	}
	var users []user
	add := func(seq int64, public string, n interfaces) {
		if !s.keeps(quirkPublicAddresses) {
			public = n.internalIP()
		}
		users = append(users, user{seq, cmp.Or(public, noAddress)})
	}
	for _, i := range s.instances.AllIn(tx) {
		if i.touches(id) {
			add(i.Seq, i.MainIP, i.interfaces)
		}
	}
	for _, m := range s.metals.AllIn(tx) {
		if m.touches(id) {
			add(m.Seq, m.MainIP, m.interfaces)
		}
	}
	for _, l := range s.balancers.AllIn(tx) {
		if l.VPC == id {
			add(l.Seq, l.Address, interfaces{})
		}
	}
	for _, d := range s.departures.AllIn(tx) {
		if slices.Contains(d.VPCs, id) && s.keeps(quirkVPCLingers) {
			add(d.Seq, d.Address, interfaces{})
		}
	}
	slices.SortFunc(users, func(a, b user) int { return cmp.Compare(a.seq, b.seq) })
	out := make([]string, 0, len(users))
	for _, u := range users {
		out = append(out, u.address)
	}
	return out
}

// vpcAttachment is one line of a VPC's attachments.
type vpcAttachment struct {
	head
	kind string // of the server, as the platform calls it
	nic  nic
}

func (a vpcAttachment) show() any {
	return map[string]any{
		"id": a.ID, "type": "vps", "mac_address": a.nic.MAC, "date_added": wire.Time(a.nic.Added),
		"ip":                  map[string]any{"v4": a.nic.Address},
		"linked_subscription": map[string]any{"type": a.kind, "id": a.ID},
	}
}

func (s *Simulator) vpcAttachments(id string) map[string]vpcAttachment {
	out := map[string]vpcAttachment{}
	add := func(h head, kind string, n interfaces) {
		for _, i := range n.shown() {
			if i.VPC == id {
				out[h.ID] = vpcAttachment{head: h, kind: kind, nic: i}
			}
		}
	}
	for _, i := range s.instances.All() {
		add(i.head, "instance", i.interfaces)
	}
	for _, m := range s.metals.All() {
		add(m.head, "bare_metal", m.interfaces)
	}
	return out
}

// checkVPCIn demands a VPC of the region; "" is none.
func (s *Simulator) checkVPCIn(tx *store.Tx, region, id string) *wire.Error {
	if id == "" {
		return nil
	}
	if v, ok := s.vpcs.GetIn(tx, id); !ok || v.Region != region {
		return ours("Invalid VPC ID.")
	}
	return nil
}

var instanceVPCRoutes = []route{
	{method: http.MethodGet, path: "/v2/instances/{id}/vpcs", operation: "list_instance_vpcs", handle: (*Simulator).listInstanceVPCs},
	{method: http.MethodPost, path: "/v2/instances/{id}/vpcs/attach", operation: "attach_instance_vpc", handle: (*Simulator).attachInstanceVPC},
	{method: http.MethodPost, path: "/v2/instances/{id}/vpcs/detach", operation: "detach_instance_vpc", handle: (*Simulator).detachInstanceVPC},
}
