package simulator

import (
	"context"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// departure is what is left of a destroyed server or load balancer for a while: the API says 404, but it still counts
// against the account's limit and keeps its VPCs from being deleted.
type departure struct {
	head
	Instance bool     `json:"instance"` // counts against the limit of instances
	Address  string   `json:"address"`  // public
	VPCs     []string `json:"vpcs"`
}

// depart remembers what is destroyed.
func (s *Simulator) depart(tx *store.Tx, d departure) {
	s.departures.Put(tx, d.ID, d)
	s.schedule(tx, jobDeparture, d.ID, "", s.cfg.Delays.Departure)
}

// dropBalancer destroys a load balancer.
func (s *Simulator) dropBalancer(tx *store.Tx, l loadBalancer) {
	s.balancers.Delete(tx, l.ID)
	if l.VPC != "" {
		s.depart(tx, departure{head: l.head, Address: l.Address, VPCs: []string{l.VPC}})
	}
	s.scheduleSettle(tx, jobBalancerSettle, l.ID)
}

// mayAddInstance judges a create by the account's limit, against which instances count for a while after their end.
func (s *Simulator) mayAddInstance(tx *store.Tx) *wire.Error {
	if s.cfg.MaxInstances == 0 {
		return nil
	}
	count := s.instances.LenIn(tx)
	for _, d := range s.departures.AllIn(tx) {
		if d.Instance && s.keeps(quirkDeletedCounts) {
			count++
		}
	}
	if count >= s.cfg.MaxInstances {
		return wire.BadRequest("Server add failed: You have reached the maximum number of active instances for this account.")
	}
	return nil
}

func (s *Simulator) finishDeparture(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		s.departures.Delete(tx, job.Target)
		return nil
	}, nil
}
