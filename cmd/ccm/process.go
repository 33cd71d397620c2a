package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/cloud-provider/app/config"
	cloudconfig "k8s.io/cloud-provider/config"
	"k8s.io/controller-manager/pkg/leadermigration"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/footprint"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/beside"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/election"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/health"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// workTimeout is how long the end of the process waits for what is under way. All of it is cut off, so it takes no longer
// than the API server needs to take a last note. With giving the lease back it fits into the pod's
// terminationGracePeriodSeconds.
const workTimeout = 20 * time.Second

// process is what this program does beside the library: it takes part in the leader election in the library's place, says
// how it is, and ends in order.
type process struct {
	stop     <-chan struct{}
	client   *vultr.Client
	provider *cloud.Provider
	listener net.Listener // for health; nil is none

	// classOnly is set if this process serves the Services of its class only, which the official manager does not.
	classOnly bool
	beside    *beside.Watch // nil if nobody has to be waited for

	election      *election.Election // nil if this process works without one, or the library has its own
	libraryElects bool
	config        *cloudconfig.CloudControllerManagerConfiguration // as it was asked for; nil if the library knows it so
	leaseDuration time.Duration
	holding       context.Context //nolint:containedctx // it ends when the work has, which no call lasts
	letGo         context.CancelFunc
	result        chan error // what the election came to

	work sync.WaitGroup // what must have ended before another process leads

	mu    sync.Mutex
	phase phase
	// campaigns is set when this process takes part in the election.
	campaigns bool
	checks    []func() error
}

// phase is how far the process has come.
type phase int

const (
	waiting phase = iota // for the lease
	working
	over
)

func newProcess(stop <-chan struct{}) *process {
	holding, letGo := context.WithCancel(context.Background())
	return &process{stop: stop, holding: holding, letGo: letGo, result: make(chan error, 1)}
}

// listen opens the address for health.
func (p *process) listen(address string) error {
	if address == "" {
		return nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--vultr-health-address: %w", err)
	}
	p.listener = listener
	return nil
}

// begin is called when the library has read its configuration, before it does anything. After a failure nothing is started.
func (p *process) begin(cfg *config.CompletedConfig) {
	p.provider.Await(p.lead)
	if err := p.prepare(cfg); err != nil {
		p.abandon()
		p.result <- err
	}
}

func (p *process) prepare(cfg *config.CompletedConfig) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("naming this process: %w", err)
	}
	elect := &cfg.ComponentConfig.Generic.LeaderElection
	lease := &v1.ObjectReference{APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Namespace: elect.ResourceNamespace, Name: elect.ResourceName}
	p.leaseDuration = elect.LeaseDuration.Duration
	switch {
	case leadermigration.Enabled(&cfg.ComponentConfig.Generic):
		p.libraryElects = true // with two leases, which it alone knows how to use
	case elect.LeaderElect:
		if p.election, err = newElection(cfg, name); err != nil {
			return err
		}
		p.config = cfg.ComponentConfig.DeepCopy()
		// The library starts its servers either way, and its controllers at once then: lead is what they wait for.
		elect.LeaderElect = false
	}
	if !p.classOnly {
		p.beside = beside.New(cfg.Client, cfg.EventRecorder, name)
	}
	cfg.Kubeconfig.Wrap(func(next http.RoundTripper) http.RoundTripper { return patient{next, p.stop} })
	ctx := wait.ContextForChannel(p.stop)
	watch := &health.KeyWatch{API: p.client, Recorder: cfg.EventRecorder, Object: lease, Process: name}
	go watch.Run(ctx)
	if p.listener != nil {
		go p.serve()
	}
	return nil
}

func newElection(cfg *config.CompletedConfig, name string) (*election.Election, error) {
	elect := cfg.ComponentConfig.Generic.LeaderElection
	lock, err := resourcelock.NewFromKubeconfig(elect.ResourceLock, elect.ResourceNamespace, elect.ResourceName,
		// Two processes of one machine must not hold the lease together.
		resourcelock.ResourceLockConfig{Identity: name + "_" + string(uuid.NewUUID()), EventRecorder: cfg.EventRecorder},
		cfg.Kubeconfig, elect.RenewDeadline.Duration)
	if err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	return election.New(election.Config{
		Lock:          lock,
		Name:          elect.ResourceName,
		LeaseDuration: elect.LeaseDuration.Duration,
		RenewDeadline: elect.RenewDeadline.Duration,
		RetryPeriod:   elect.RetryPeriod.Duration,
	})
}

// lead returns when this process may work. If it is told to end before, it never returns: nothing is to be started any more,
// and the library has no way to be told.
func (p *process) lead() {
	if p.config != nil { // the library has just registered its own
		if err := showConfig(p.config); err != nil {
			klog.Background().Error(err, "/configz says that there is no leader election, though there is one")
		}
	}
	p.awaitAlone()
	if p.election != nil && p.campaign() {
		go func() { p.result <- p.election.Run(p.holding) }()
		select {
		case <-p.election.Leads():
		case <-p.stop:
		}
	}
	if !p.start() {
		select {}
	}
	footprint.TrimLater() // all Nodes and Services are read now, and most of what that takes is garbage
}

// awaitAlone returns when the official manager does not run, or the process is told to end. Not before, because the library
// sends no Events yet. Where the library has elected this process already, the other one can't do anything.
func (p *process) awaitAlone() {
	if p.beside == nil {
		return
	}
	go p.beside.Run(wait.ContextForChannel(p.stop))
	if p.libraryElects {
		return
	}
	select {
	case <-p.beside.Clear():
	case <-p.stop:
	}
}

// campaign reports whether the process may take part in the election.
func (p *process) campaign() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.campaigns = p.phase == waiting && !p.stopping()
	return p.campaigns
}

// start reports whether the process may begin to work.
func (p *process) start() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != waiting || p.stopping() {
		return false
	}
	p.phase = working
	return true
}

// abandon reports whether the process has not begun to work, and makes sure that it does not.
func (p *process) abandon() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == working {
		return false
	}
	p.phase = over
	return true
}

func (p *process) stopping() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// run runs the library until the process is told to end, and ends in order then; it returns at once, with an error, when
// the lease is lost.
func (p *process) run(library func() error) error {
	finished := make(chan error, 1)
	go func() { finished <- library() }()
	select {
	case err := <-finished:
		p.end()
		return err
	case err := <-p.result:
		return lost(err)
	case <-p.stop:
		if p.abandon() {
			p.end()
			return nil
		}
	}
	select { // it works, and the library ends because it was told the same
	case err := <-finished:
		p.end()
		return err
	case err := <-p.result:
		return lost(err)
	}
}

func lost(err error) error {
	klog.Background().Error(err, "This process no longer leads, exiting")
	return err
}

// end waits for what is under way and gives the lease back. Where it takes too long the lease runs out by itself: nobody
// else may begin before.
func (p *process) end() {
	ended := make(chan struct{})
	go func() { p.work.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(workTimeout):
		klog.Background().Error(nil, "Work is still under way, so the lease is not released", "waited", workTimeout)
		return
	}
	p.letGo()
	p.mu.Lock()
	campaigns := p.campaigns
	p.mu.Unlock()
	if !campaigns {
		return
	}
	if err := <-p.result; err != nil {
		klog.Background().Error(err, "The lease was not released")
	}
}

// ready returns why the controllers do not work yet.
func (p *process) ready() error {
	p.mu.Lock()
	checks := p.checks
	p.mu.Unlock()
	err := p.provider.Ready()
	if p.libraryElects && errors.Is(err, cloud.ErrNotStarted) {
		return nil // another process may lead, which the library does not say
	}
	for _, check := range checks {
		err = errors.Join(err, check())
	}
	return err
}

// check adds something on which readiness depends.
func (p *process) check(is func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks = append(p.checks, is)
}

// healthy returns an error if only a restart helps.
func (p *process) healthy() error {
	if p.election == nil {
		return nil
	}
	return p.election.Healthy()
}

func (p *process) facts() health.Facts {
	f := health.Facts{Now: time.Now(), LeaseDuration: p.leaseDuration, API: p.client.Standing(), Work: p.ready(), Stopping: p.stopping()}
	if p.election != nil {
		state := p.election.State()
		f.Election = &state
	}
	if p.beside != nil {
		f.Official = p.beside.Fault()
	}
	return f
}

// serve answers questions about health until the process ends.
func (p *process) serve() {
	server := &http.Server{Handler: health.Handler(p.healthy, p.facts), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	if err := server.Serve(p.listener); err != nil {
		klog.Background().Error(err, "Health is no longer served", "address", p.listener.Addr())
	}
}
