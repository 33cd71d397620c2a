package simulator

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/faults"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/reqlog"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// Fault is a rule that makes requests go wrong, or holds them.
type Fault = faults.Rule

// FaultAction is what a Fault does.
type FaultAction = faults.Action

// The actions of faults. "Before" means that the work is not done (of a hold: not yet), "after" that it is.
const (
	FaultStatus      = faults.Status
	FaultStatusAfter = faults.StatusAfter
	FaultLatency     = faults.Latency
	FaultResetBefore = faults.ResetBefore
	FaultResetAfter  = faults.ResetAfter
	FaultHoldBefore  = faults.HoldBefore
	FaultHoldAfter   = faults.HoldAfter
	FaultHang        = faults.Hang
	FaultHangAfter   = faults.HangAfter
	FaultTruncate    = faults.Truncate
	FaultNotJSON     = faults.NotJSON
	FaultStale       = faults.Stale
	FaultDuplicate   = faults.Duplicate
)

// FaultAnswer is one of the two answers of a request that FaultDuplicate has delivered twice.
type FaultAnswer = faults.Answer

// The answers that a Fault can choose.
const (
	FaultAnswerFirst  = faults.AnswerFirst
	FaultAnswerSecond = faults.AnswerSecond
)

// FaultActions lists them all.
func FaultActions() []FaultAction { return slices.Clone(faults.Actions) }

// Request is one entry of the request log.
type Request = reqlog.Entry

// Counter is the counts of one operation.
type Counter = reqlog.Counter

// RemoveFault ends a fault and releases what it holds; false if there is none of that ID.
func (s *Simulator) RemoveFault(id string) bool {
	defer s.news.tell()
	defer s.keepThePast()
	return s.faults.Remove(id)
}

// ClearFaults removes all faults and releases what they hold.
func (s *Simulator) ClearFaults() {
	s.faults.Clear()
	s.keepThePast()
	s.news.tell()
}

// ReleaseFault releases the requests that a fault holds now; it stays in force for others.
func (s *Simulator) ReleaseFault(id string) bool { return s.faults.Release(id) }

// Faults returns the faults in force with their counts.
func (s *Simulator) Faults() []Fault { return s.faults.List() }

// WaitHeld waits until the fault holds a request.
func (s *Simulator) WaitHeld(ctx context.Context, id string) error {
	for {
		f, changed, ok := s.faults.Get(id)
		if !ok {
			return fmt.Errorf("there is no fault %q", id)
		}
		if f.Held > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("fault %s holds nothing: %w", id, ctx.Err())
		case <-changed:
		}
	}
}

// Requests returns up to n of the last requests that ended, oldest first; 0 returns all that are remembered (10000).
func (s *Simulator) Requests(n int) []Request { return s.requests.Last(n) }

// Counters counts all requests that ended by operation, failed attempts included.
func (s *Simulator) Counters() map[string]Counter { return s.requests.Counters() }

// ResetRequests forgets the request log and its counters.
func (s *Simulator) ResetRequests() { s.requests.Reset() }

// NewServer describes a server that AddInstance or AddBareMetal makes without an API call and without delay.
type NewServer struct {
	Label    string
	Hostname string // the label when empty
	Region   string // "ewr" when empty
	Plan     string // a small one when empty
	MainIP   string // the next free address when empty
	// VPCs are the networks that it is in, with an address in each that is visible at once; VPCOnly is for an instance
	// without a public address.
	VPCs     []string
	VPCOnly  bool
	Tags     []string
	UserData string // plain text
	// Stopped makes an instance that is halted; Locked one that is active but still in its locked window, for good.
	Stopped, Locked bool
	// PrivateMemory makes an instance that file systems (VFS) can't be attached to, as those of older plans.
	PrivateMemory bool
}

func (n NewServer) withDefaults(plan string) NewServer {
	if n.Region == "" {
		n.Region = "ewr"
	}
	if n.Plan == "" {
		n.Plan = plan
	}
	if n.Hostname == "" {
		n.Hostname = n.Label
	}
	return n
}

// oldHead is the head of a record that was there before; its transaction has to be Old for reads that lag.
func (s *Simulator) oldHead() head {
	h := s.newHead()
	h.Created = h.Created.Add(-time.Hour)
	return h
}

func (s *Simulator) addressFor(tx *store.Tx, wanted string) (string, error) {
	if wanted != "" {
		return wanted, nil
	}
	return s.freeAddress(tx)
}

// joined returns a server that was there before its interfaces in VPCs.
func (s *Simulator) joined(tx *store.Tx, serverID, region string, vpcs []string) (n interfaces, err error) {
	for _, id := range vpcs {
		if bad := s.mayMove(tx, region, n, vpcMove{VPC: id}); bad != nil {
			return n, bad
		}
		if n, err = s.join(tx, serverID, n, id, true); err != nil {
			return n, err
		}
	}
	return n, nil
}

// AddInstance makes a virtual machine that is active, running and ok at once, and tells its ID. Its Machine is not
// called.
func (s *Simulator) AddInstance(n NewServer) (string, error) {
	n = n.withDefaults("vc2-2c-4gb")
	i := instance{
		head: s.oldHead(), Label: n.Label, Hostname: n.Hostname, Region: n.Region, Plan: n.Plan, OSID: defaultSystem,
		Tags: slices.Clone(n.Tags), UserData: base64.StdEncoding.EncodeToString([]byte(n.UserData)),
		Status: statusActive, Power: powerRunning, Server: serverOK,
	}
	if n.Stopped {
		i.Power = powerStopped
	}
	i.PrivateMemory = n.PrivateMemory
	i.VPCOnly, i.NoPublicIPv4 = n.VPCOnly, n.VPCOnly
	if n.Locked {
		i.Server = serverLocked
	}
	if _, ok := findRegion(i.Region); !ok {
		return "", fmt.Errorf("unknown region %q", i.Region)
	}
	return i.ID, s.update(func(tx *store.Tx) (err error) {
		tx.Old()
		if !n.VPCOnly {
			if i.MainIP, err = s.addressFor(tx, n.MainIP); err != nil {
				return err
			}
		}
		if i.interfaces, err = s.joined(tx, i.ID, i.Region, n.VPCs); err != nil {
			return err
		}
		s.instances.Put(tx, i.ID, i)
		return nil
	})
}

// AddBareMetal makes a bare metal server and tells its ID.
func (s *Simulator) AddBareMetal(n NewServer) (string, error) {
	n = n.withDefaults("vbm-4c-32gb")
	m := bareMetal{
		head: s.oldHead(), Label: n.Label, Hostname: n.Hostname, Region: n.Region, Plan: n.Plan,
		Tags: slices.Clone(n.Tags), UserData: base64.StdEncoding.EncodeToString([]byte(n.UserData)), Power: powerRunning,
	}
	if n.Stopped {
		m.Power = powerStopped
	}
	if _, ok := findRegion(m.Region); !ok {
		return "", fmt.Errorf("unknown region %q", m.Region)
	}
	return m.ID, s.update(func(tx *store.Tx) (err error) {
		tx.Old()
		if m.MainIP, err = s.addressFor(tx, n.MainIP); err != nil {
			return err
		}
		if m.interfaces, err = s.joined(tx, m.ID, m.Region, n.VPCs); err != nil {
			return err
		}
		s.metals.Put(tx, m.ID, m)
		return nil
	})
}

// RemoveBareMetal takes a bare metal server away, as its owner would by the platform's console.
func (s *Simulator) RemoveBareMetal(id string) error {
	return s.update(func(tx *store.Tx) error {
		s.destroyMetal(tx, id)
		return nil
	})
}
