package simulator

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// The platform's texts are unknown.
var (
	errNoLabel = wire.NotFound("Invalid label ID")
	errNoTaint = wire.NotFound("Invalid taint ID")
)

// poolLabel is a label of a pool's nodes. Its ID follows from its key, which is in the pool once.
type poolLabel struct {
	ID    string `json:"id"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

// poolTaint is a taint of a pool's nodes. Its ID follows from its key and effect.
type poolTaint struct {
	ID string `json:"id"`
	nodeTaint
}

func markID(pool, text string) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(pool+" "+text)).String()
}

func (p nodePool) labels() []poolLabel {
	out := []poolLabel{}
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		out = append(out, poolLabel{ID: markID(p.ID, "label "+key), Key: key, Value: p.Labels[key]})
	}
	return out
}

func (p nodePool) taints() []poolTaint {
	out := []poolTaint{}
	for _, t := range p.Taints {
		out = append(out, poolTaint{ID: markID(p.ID, "taint "+t.Key+" "+t.Effect), nodeTaint: t})
	}
	return out
}

// findMark returns the mark that the path names.
func findMark[T any](c *call, marks []T, id func(T) string) (T, bool) {
	n := slices.IndexFunc(marks, func(m T) bool { return id(m) == c.req.PathValue("mark") })
	if n < 0 {
		var none T
		return none, false
	}
	return marks[n], true
}

func labelID(l poolLabel) string { return l.ID }
func taintID(t poolTaint) string { return t.ID }

func (s *Simulator) listPoolLabels(c *call) (int, any, error) {
	return s.withPool(c, func(p nodePool) (int, any, error) {
		return http.StatusOK, map[string]any{"labels": p.labels()}, nil
	})
}

func (s *Simulator) getPoolLabel(c *call) (int, any, error) {
	return s.withPool(c, func(p nodePool) (int, any, error) {
		l, ok := findMark(c, p.labels(), labelID)
		if !ok {
			return 0, nil, errNoLabel
		}
		return http.StatusOK, map[string]any{"label": l}, nil
	})
}

func (s *Simulator) createPoolLabel(c *call) (int, any, error) {
	var req poolLabel
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	p, err := s.changePool(c, func(_ *store.Tx, _ cluster, p nodePool) (nodePool, error) {
		if req.Key == "" {
			return p, ours("Invalid key.")
		}
		p.Labels = maps.Clone(p.Labels)
		if p.Labels == nil {
			p.Labels = map[string]string{}
		}
		p.Labels[req.Key] = req.Value
		return p, nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"label": poolLabel{ID: markID(p.ID, "label "+req.Key), Key: req.Key, Value: req.Value}}, nil
}

func (s *Simulator) deletePoolLabel(c *call) (int, any, error) {
	_, err := s.changePool(c, func(_ *store.Tx, _ cluster, p nodePool) (nodePool, error) {
		l, ok := findMark(c, p.labels(), labelID)
		if !ok {
			return p, errNoLabel
		}
		p.Labels = maps.Clone(p.Labels)
		delete(p.Labels, l.Key)
		return p, nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) listPoolTaints(c *call) (int, any, error) {
	return s.withPool(c, func(p nodePool) (int, any, error) {
		return http.StatusOK, map[string]any{"taints": p.taints()}, nil
	})
}

func (s *Simulator) getPoolTaint(c *call) (int, any, error) {
	return s.withPool(c, func(p nodePool) (int, any, error) {
		t, ok := findMark(c, p.taints(), taintID)
		if !ok {
			return 0, nil, errNoTaint
		}
		return http.StatusOK, map[string]any{"taint": t}, nil
	})
}

func (s *Simulator) createPoolTaint(c *call) (int, any, error) {
	var req nodeTaint
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	p, err := s.changePool(c, func(_ *store.Tx, _ cluster, p nodePool) (nodePool, error) {
		if req.Key == "" || !slices.Contains([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}, req.Effect) {
			return p, ours("Invalid taint.")
		}
		p.Taints = slices.DeleteFunc(slices.Clone(p.Taints), func(t nodeTaint) bool { return t.Key == req.Key && t.Effect == req.Effect })
		p.Taints = append(p.Taints, req)
		return p, nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"taint": p.taints()[len(p.Taints)-1]}, nil
}

func (s *Simulator) deletePoolTaint(c *call) (int, any, error) {
	_, err := s.changePool(c, func(_ *store.Tx, _ cluster, p nodePool) (nodePool, error) {
		t, ok := findMark(c, p.taints(), taintID)
		if !ok {
			return p, errNoTaint
		}
		p.Taints = slices.DeleteFunc(slices.Clone(p.Taints), func(o nodeTaint) bool { return o == t.nodeTaint })
		return p, nil
	})
	return s.noContent(), nil, err
}

// deleteClusterWithResources destroys the volumes of the nodes and the load balancers before them, too. Volumes go when
// they are detached.
func (s *Simulator) deleteClusterWithResources(c *call) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		l, ok := s.clusters.GetIn(tx, c.id())
		if !ok {
			return errNoCluster
		}
		nodes := l.nodes()
		for id, b := range s.blocks.AllIn(tx) {
			if slices.Contains(nodes, b.AttachedTo) {
				s.schedule(tx, jobClusterVolume, id, "", s.cfg.Delays.Departure)
			}
		}
		for _, b := range s.balancers.AllIn(tx) {
			if slices.ContainsFunc(b.Instances, func(id string) bool { return slices.Contains(nodes, id) }) {
				s.dropBalancer(tx, b)
			}
		}
		s.dropCluster(tx, l)
		return nil
	})
	return s.noContent(), nil, err
}

// destroyVolume destroys a volume of a deleted cluster, once nothing has it any more.
func (s *Simulator) destroyVolume(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		b, ok := s.blocks.GetIn(tx, job.Target)
		if !ok {
			return nil
		}
		if b.AttachedTo != "" || b.Op != nil {
			return fmt.Errorf("volume %s is still attached", b.ID)
		}
		s.blocks.Delete(tx, b.ID)
		s.scheduleSettle(tx, jobDiskSettle, b.ID)
		return nil
	}, nil
}
