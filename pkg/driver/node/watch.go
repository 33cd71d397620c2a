package node

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const (
	// watchEvery is how often the volumes of the node are looked at, whether or not anybody asks for their health.
	watchEvery = time.Minute
	// watchAtOnce is how many are looked at at a time: one that hangs holds up no other for long.
	watchAtOnce = 4
)

// complaint is something that is wrong with a volume.
type complaint struct {
	id     string
	kind   volume.Kind
	reason string
}

// complaints are what the last look has found.
type complaints struct {
	mu  sync.Mutex
	all map[complaint]string // what is wrong in words
}

// Watch looks at the volumes that are staged, for the metrics and the log, until the context ends.
func (s *Service) Watch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		s.Look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Look looks once, and logs what has changed.
func (s *Service) Look(ctx context.Context) {
	var mu sync.Mutex
	all := map[complaint]string{}
	var group errgroup.Group
	group.SetLimit(watchAtOnce)
	for _, record := range s.staged() {
		group.Go(func() error {
			kind, conditions := s.conditionsOf(ctx, record)
			mu.Lock()
			defer mu.Unlock()
			for _, c := range conditions {
				all[complaint{record.VolumeID, kind, c.Reason}] = c.Message
			}
			return nil
		})
	}
	_ = group.Wait() // nothing in it fails
	if ctx.Err() != nil {
		return
	}
	s.complaints.mu.Lock()
	before := s.complaints.all
	s.complaints.all = all
	s.complaints.mu.Unlock()
	log := klog.FromContext(ctx)
	for c, words := range all {
		if _, known := before[c]; !known {
			log.Info("Something is wrong with a volume", "volumeID", c.id, "reason", c.reason, "what", words)
		}
	}
	for c := range before {
		if _, still := all[c]; !still {
			log.Info("Nothing is wrong with the volume any more", "volumeID", c.id, "reason", c.reason)
		}
	}
}

// conditionsOf looks at one volume. Of one with which somebody works, and of one that cannot be judged now, nothing is said.
func (s *Service) conditionsOf(ctx context.Context, record state.Staged) (volume.Kind, []volume.Condition) {
	kind := kindOf(record)
	if s.work.Running(record.VolumeID) != nil {
		return kind, nil
	}
	stager, err := s.stagerOf(record.VolumeID)
	if err != nil {
		return kind, nil
	}
	conditions, err := s.examine(ctx, stager, record.VolumeID, nil)
	if err != nil {
		return kind, nil
	}
	return kind, conditions
}

// staged returns the records of the volumes that were staged in this boot. One that cannot be read is left out: its own calls
// say so.
func (s *Service) staged() []state.Staged {
	ids, err := s.cfg.State.AllStaged()
	if err != nil {
		return nil
	}
	var all []state.Staged
	for _, id := range ids {
		if r, err := s.cfg.State.Staged(id); err == nil && r != nil && (r.BootID == "" || r.BootID == s.cfg.BootID) {
			all = append(all, *r)
		}
	}
	return all
}

// kindOf returns the kind of storage of a volume that is staged.
func kindOf(record state.Staged) volume.Kind {
	if record.Kind == "" {
		return volume.Block
	}
	return volume.Kind(strings.ToLower(record.Kind))
}

// byReason counts what the last look has found.
func (c *complaints) byReason() map[[2]string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := map[[2]string]int{}
	for one := range c.all {
		counts[[2]string{string(one.kind), one.reason}]++
	}
	return counts
}
