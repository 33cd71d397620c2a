package simulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/faults"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/reqlog"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// Simulator is one simulated cloud: an http.Handler for its API, and the account behind it. New makes one.
type Simulator struct {
	cfg Config
	log klog.Logger

	store     *store.Store
	blocks    *store.Table[block]
	instances *store.Table[instance]
	metals    *store.Table[bareMetal]
	balancers *store.Table[loadBalancer]
	jobs      *store.Table[jobs.Job]
	seq       atomic.Int64
	accountTables
	storageTables

	scheduler *jobs.Scheduler
	stop      context.CancelFunc
	stopped   chan struct{}
	closing   sync.Once
	closeErr  error

	faults   *faults.Set
	requests *reqlog.Log
	limits   *limiter
	bodies   *semaphore.Weighted // bytes of large ones
	keys     atomic.Pointer[[]string]
	sources  atomic.Pointer[sourceList]
	readLags atomic.Pointer[ReadLags]
	keeping  sync.Mutex // one after another says how much of the past is kept
	mux      *http.ServeMux

	change news // of the state
	news   news // of that and of requests

	quirksOff sync.Map
}

// failedJobPause is how long the platform waits before it tries again what a data plane refused.
const failedJobPause = time.Second

// New opens the state, brings the data planes in line with it and starts what was under way. The simulator runs until
// Close; ctx bounds the opening only.
func New(ctx context.Context, cfg Config) (*Simulator, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configure the simulator: %w", err)
	}
	s := newSimulator(cfg)
	s.SetKeys(cfg.Keys)
	s.SetAllowedSources(cfg.AllowedSources)
	s.store, err = store.Open(cfg.StateDir, s.tables()...)
	if err != nil {
		return nil, err
	}
	s.seq.Store(s.highestSeq())
	s.storeReadLags(cfg.ReadLags)
	s.scheduler = jobs.New(s.openJobs, s.runJob, s.scaledPause())
	s.mux = s.routes()
	if err := s.recoverPlanes(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("recover the data planes: %w", err), s.store.Close())
	}
	s.keepThePast() // from here on: reads are never older than the start
	loopCtx, stop := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), s.log))
	s.stop = stop
	go func() {
		defer close(s.stopped)
		s.scheduler.Loop(loopCtx)
	}()
	return s, nil
}

// newSimulator makes one with empty tables, which are not opened yet.
func newSimulator(cfg Config) *Simulator {
	return &Simulator{
		cfg: cfg, log: cfg.Logger,
		blocks:        store.NewTable[block]("blocks"),
		instances:     store.NewTable[instance]("instances"),
		metals:        store.NewTable[bareMetal]("bare_metals"),
		balancers:     store.NewTable[loadBalancer]("load_balancers"),
		jobs:          store.NewTable[jobs.Job]("jobs"),
		accountTables: newAccountTables(),
		storageTables: newStorageTables(),
		faults:        faults.New(), requests: reqlog.New(), limits: newLimiter(cfg.RateLimit),
		bodies:  semaphore.NewWeighted(largeBodies),
		stopped: make(chan struct{}),
	}
}

// tables are all that the store keeps.
func (s *Simulator) tables() []store.Kind {
	return slices.Concat([]store.Kind{s.blocks, s.instances, s.metals, s.balancers, s.jobs}, s.accountTables.kinds(), s.storageTables.kinds())
}

// Close stops what is under way, which goes on when the state is opened again, releases held requests, and closes
// the state. The data planes stay as they are. A second Close does nothing.
func (s *Simulator) Close() error {
	s.closing.Do(func() {
		s.faults.Close()
		s.stop()
		<-s.stopped
		s.closeErr = s.store.Close()
	})
	return s.closeErr
}

func (s *Simulator) highestSeq() int64 {
	high := max(s.accountTables.highestSeq(), s.storageTables.highestSeq())
	for _, b := range s.blocks.All() {
		high = max(high, b.Seq)
	}
	for _, i := range s.instances.All() {
		high = max(high, i.Seq)
	}
	for _, m := range s.metals.All() {
		high = max(high, m.Seq)
	}
	for _, l := range s.balancers.All() {
		high = max(high, l.Seq)
	}
	for _, j := range s.jobs.All() {
		high = max(high, j.Seq)
	}
	return high
}

// update changes the state durably, then wakes those who wait for a change.
func (s *Simulator) update(change func(tx *store.Tx) error) error {
	if err := s.store.Update(change); err != nil {
		return err
	}
	s.change.tell()
	s.news.tell()
	s.tellReaders()
	s.scheduler.Wake()
	return nil
}

// waitUntil waits for done to become true after some change of the state, or for ctx.
func (s *Simulator) waitUntil(ctx context.Context, done func() bool) bool {
	for {
		changed := s.change.wait()
		if done() {
			return true
		}
		select {
		case <-ctx.Done():
			return done()
		case <-changed:
		}
	}
}

// scaled returns a delay as this cloud takes it.
func (s *Simulator) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * s.cfg.TimeScale)
}

// scaledPause keeps the retries of a fast cloud from spinning.
func (s *Simulator) scaledPause() time.Duration {
	return max(s.scaled(failedJobPause), 20*time.Millisecond)
}

func newID() string { return uuid.NewString() }

func (s *Simulator) nextSeq() int64 { return s.seq.Add(1) }
