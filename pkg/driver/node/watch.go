package node

import (
	"context"
	"slices"
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

// Look looks once, and logs what has changed. Of a volume that cannot be judged now, the last look counts: that nothing was found
// would say that it is well.
func (s *Service) Look(ctx context.Context) {
	records, unjudged, err := s.records()
	if err != nil {
		klog.FromContext(ctx).Error(err, "What is wrong with volumes is not known now")
		return
	}
	var mu sync.Mutex
	all := map[complaint]string{}
	var group errgroup.Group
	group.SetLimit(watchAtOnce)
	for _, record := range records {
		group.Go(func() error {
			kind, conditions, judged := s.conditionsOf(ctx, record)
			mu.Lock()
			defer mu.Unlock()
			if !judged {
				unjudged = append(unjudged, record.VolumeID)
			}
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
	for c, words := range before {
		if slices.ContainsFunc(unjudged, func(id string) bool { return strings.EqualFold(id, c.id) }) {
			all[c] = words
		}
	}
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

// conditionsOf looks at one volume. One with which somebody works, and one that cannot be looked at now, is not judged.
func (s *Service) conditionsOf(ctx context.Context, record state.Staged) (_ volume.Kind, _ []volume.Condition, judged bool) {
	kind := kindOf(record)
	if s.work.Running(record.VolumeID) != nil {
		return kind, nil, false
	}
	stager, err := s.stagerOf(record.VolumeID)
	if err != nil {
		return kind, nil, false
	}
	conditions, err := s.examine(ctx, stager, record.VolumeID, nil)
	return kind, conditions, err == nil || volume.ReasonOf(err) == volume.NotFound // it was unstaged meanwhile
}

// staged returns the records of the volumes that were staged in this boot. One that cannot be read is left out: its own calls
// say so.
func (s *Service) staged() []state.Staged {
	all, _, _ := s.records() //nolint:errcheck // there are none then
	return all
}

// records returns the records of the volumes that were staged in this boot, and the IDs of those whose record cannot be read.
func (s *Service) records() (all []state.Staged, unread []string, err error) {
	ids, err := s.cfg.State.AllStaged()
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		r, err := s.cfg.State.Staged(id)
		switch {
		case err != nil:
			unread = append(unread, id)
		case r != nil && (r.BootID == "" || r.BootID == s.cfg.BootID):
			all = append(all, *r)
		}
	}
	return all, unread, nil
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
