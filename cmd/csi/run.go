package main

import (
	"context"
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/attachlimit"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/beside"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/controller"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/identity"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/node"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/noderegion"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/orphans"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/pending"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/registration"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/router"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/server"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/startuptaint"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/vfsstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The rates of the API calls of this program unless flags say others, below the platform's 30 per second, which the cloud
// controller manager and other clusters behind the same address share.
const (
	startRate    = 10
	maxRate      = 20
	platformRate = 30
)

// How far reads of the platform can be behind, on the platform's clock.
const (
	// attachWindow is how long an attach or a detach that the platform accepted may take to show.
	attachWindow = 30 * time.Second
	// unseen is how long reads may lack what was created.
	unseen = 2 * time.Minute
	// twinCheck is how long after the settle time a new volume's name is looked at again: far less than the age up to which
	// a duplicate may be deleted, and long enough for a list that is read anyway to do for it.
	twinCheck = 45 * time.Second
	// lookAgain is how long after it was not found a volume is looked for again before it counts as gone.
	lookAgain = 3 * time.Second
)

// longWorkFor is how long a check of a file system may go on after the end was asked for, before it is told to end. It is
// below the time that the kubelet gives the pod.
const longWorkFor = 25 * time.Second

// process is what runs together.
type process struct {
	cfg       Config
	verbosity *verbosity
	tracing   tracing
	registry  *prometheus.Registry
	self      selfSource
	// kube is the cluster, nil outside of one; noKube says why.
	kube     *kubeapi.Client
	noKube   error
	account  *account.Account  // nil without a controller
	disks    *blockstore.Store // nil without a controller
	services server.Services
	identity *identity.Service
	checks   []identity.Check // of readiness
	register *registration.Service
	warner   *events.Recorder // nil without a controller
	orphans  *orphans.Watch   // nil if nobody looks for them
	beside   *beside.Watch    // nil without a controller, or outside of a cluster
	serving  serving          // whether this is the replica that leads
	// shutdown ends long work, nil when there can be none.
	shutdown func(context.Context)
	// watch looks at the volumes of a node, nil without one.
	watch func(context.Context)
}

// Run runs until the context ends or something fails.
func Run(ctx context.Context, cfg Config) error {
	verbosity, err := setUpLogging(cfg)
	if err != nil {
		return err
	}
	kube, noKube := kubeapi.InCluster(os.Getenv, cfg.AccountDir)
	p := &process{cfg: cfg, registry: prometheus.NewRegistry(), self: newSelfSource(cfg, kube), kube: kube, noKube: noKube, verbosity: verbosity}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	klog.FromContext(ctx).Info("Starting", "version", version.Get().String(), "mode", cfg.Mode, "endpoint", cfg.Endpoint, "fips140", fips140.Enabled())

	if p.tracing, err = newTracing(ctx, cfg); err != nil {
		return err
	}
	defer p.tracing.end(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { p.self.Run(ctx); return nil })
	if cfg.controller() {
		if err := p.addController(); err != nil {
			return err
		}
		group.Go(func() error { return p.warner.Run(ctx) })
		group.Go(func() error { p.checkAccount(ctx); return nil })
		group.Go(func() error { return p.disks.Run(ctx) })
		if p.kube != nil {
			group.Go(func() error { startuptaint.New(p.kube, identity.DriverName).Run(ctx); return nil })
			group.Go(func() error { p.beside.Run(ctx); return nil })
		}
		if p.orphans != nil {
			group.Go(func() error { p.orphans.Run(ctx); return nil })
		}
	}
	if cfg.node() {
		if err := p.addNode(); err != nil {
			return err
		}
		group.Go(func() error { p.watch(ctx); return nil })
	}
	p.identity = identity.New(version.Get().Version, p.check)
	p.services.Identity = p.identity
	if err := p.listen(ctx, group); err != nil {
		return err
	}
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	klog.FromContext(ctx).Info("Ended")
	klog.Flush()
	return err
}

func (p *process) check(ctx context.Context) error {
	var faults []error
	for _, c := range p.checks {
		faults = append(faults, c(ctx))
	}
	return errors.Join(faults...)
}

func (p *process) addController() error {
	api, err := vultr.New(vultr.Config{
		BaseURL: p.cfg.APIURL, KeyFile: p.keyFile(), Key: p.cfg.APIKey, UserAgent: version.Get().UserAgent("csi"),
		StartRate: p.cfg.StartRate, MaxRate: p.cfg.MaxRate, Registerer: p.registry, TimeScale: p.cfg.TimeScale, Around: p.tracing.around(),
	})
	if err != nil {
		return fmt.Errorf("setting up the API client: %w", err)
	}
	scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) * p.cfg.TimeScale) }
	var nodes func(context.Context) ([]string, error)
	var cluster *events.API
	var limitReached func(context.Context, string, int)
	var regionOf func(context.Context, string) (string, string)
	if p.kube != nil {
		cluster = events.New(p.kube, identity.DriverName)
		nodes = cluster.NodeIDs
	}
	p.warner = newWarner(cluster, p.noKube)
	if p.kube != nil {
		limitReached = attachlimit.NewNoter(p.kube, identity.DriverName, p.warner).Refused
		regionOf = noderegion.New(p.kube, identity.DriverName).Of
		p.beside = beside.New(p.kube, p.warner)
		p.checks = append(p.checks, p.beside.Check)
	}
	p.account = account.New(api, p.self.members(nodes))
	options := blockstore.Options{
		AttachWindow: scaled(attachWindow), Unseen: scaled(unseen), TwinCheck: scaled(twinCheck), LookAgain: scaled(lookAgain),
		Cluster: p.cfg.ClusterID, Account: p.account, Registerer: p.registry, LimitReached: limitReached, RegionOf: regionOf,
	}
	p.disks = blockstore.New(api, options)
	p.serving.begun = p.disks.CallerBegan
	// The limit of a node is that of its disks, which shared file systems are none of.
	options.Beside, options.Registerer, options.LimitReached = p.disks, nil, nil
	volumes := router.New([]volume.Backend{p.disks, vfsstore.New(api, options)})
	if cluster != nil && p.cfg.OrphanAge > 0 {
		p.orphans = orphans.New(orphans.Config{
			Volumes: bare{volumes}, PersistentVolumes: cluster.PersistentVolumes, Snapshots: p.disks, SnapshotHandles: cluster.SnapshotHandles,
			Cluster: p.cfg.ClusterID, Age: p.cfg.OrphanAge, Leads: p.serving.leads, Warner: p.warner,
			CostByClaim: p.cfg.CostByClaim, Registerer: p.registry,
		})
	}
	p.services.Controller = controller.New(volumes, p.self.region, p.warner)
	key := identity.NewAPICheck(api)
	p.registry.MustRegister(key)
	p.checks = append(p.checks, key.Check)
	return nil
}

// bare lists volumes for those to whom it does not matter which instances have them.
type bare struct{ *router.Router }

func (b bare) List(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error) {
	return b.ListBare(ctx, maxAge)
}

// checkAccount proves the key's account before the first volume needs it, and says at once when it is the wrong one.
func (p *process) checkAccount(ctx context.Context) {
	if p.self.Wait(ctx) != nil {
		return
	}
	if err := p.account.CheckKey(ctx); err != nil {
		klog.FromContext(ctx).Info("The API key's account is not proven to be the cluster's, it is looked at again before a volume is made", "reason", err.Error())
	}
}

// newWarner returns what writes Events to the cluster that the process runs in, or only logs outside of one.
func newWarner(api *events.API, err error) *events.Recorder {
	if err != nil {
		klog.Background().Info("Warnings to users are only logged, not written as Events", "reason", err.Error())
		return events.NewRecorder(nil)
	}
	return events.NewRecorder(api)
}

// keyFile returns the file of the key, "" when there is none and the environment has the key.
func (p *process) keyFile() string {
	if _, err := os.Stat(p.cfg.APIKeyFile); err != nil && p.cfg.APIKey != "" {
		return ""
	}
	return p.cfg.APIKeyFile
}

func (p *process) addNode() error {
	records, err := state.Open(p.cfg.StateDir)
	if err != nil {
		return fmt.Errorf("--state-dir: %w", err)
	}
	bootID, err := state.BootID()
	if err != nil {
		return err
	}
	step.SetDir(filepath.Join(p.cfg.StateDir, "faultpoints"))
	service := node.New(node.Config{
		Self:   p.self.get(records.AllStaged),
		Finder: device.Finder{DeviceDir: p.cfg.DeviceDir, SysfsDir: p.cfg.SysfsBlockDir},
		VFSDir: p.cfg.VFSDir, State: records, BootID: bootID, KubeletRoot: p.cfg.KubeletRoot, Registerer: p.registry,
	})
	p.services.Node = service
	p.shutdown, p.watch = service.Shutdown, service.Watch
	p.checks = append(p.checks, p.self.Check, service.Check)
	if p.cfg.PluginRegistrationDir != "" {
		p.register = registration.New(identity.DriverName, p.cfg.KubeletRegistrationPath)
		p.checks = append(p.checks, p.register.Check)
	}
	return nil
}

// listen opens everything that listens, or nothing, and serves.
func (p *process) listen(ctx context.Context, group *errgroup.Group) error {
	socket, err := server.ParseEndpoint(p.cfg.Endpoint)
	if err != nil {
		return err
	}
	var health net.Listener
	if p.cfg.HTTPEndpoint != "" {
		if health, err = net.Listen("tcp", p.cfg.HTTPEndpoint); err != nil {
			return fmt.Errorf("--http-endpoint: %w", err)
		}
	}
	scrape, err := p.listenForScrapes()
	if err != nil {
		return errors.Join(err, closeIf(health))
	}
	rpc, err := server.Listen(socket)
	if err != nil {
		return errors.Join(fmt.Errorf("--endpoint: %w", err), closeIf(health), closeIf(scrape))
	}
	s := server.New(p.services, server.Options{Metrics: server.NewMetrics(p.registry), Inner: inTurn(p.alone, inTurn(p.serving.intercept, p.watchPending().Intercept)), Stats: p.tracing.calls()})
	group.Go(func() error { return server.Serve(ctx, s, rpc) })
	if p.shutdown != nil {
		group.Go(func() error {
			<-ctx.Done()
			// While calls are drained: those that wait for long work return.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), longWorkFor)
			defer cancel()
			p.shutdown(last)
			return nil
		})
	}
	if health != nil {
		h := server.Handler(
			func(ctx context.Context) error { return p.alive(ctx, socket) },
			func(ctx context.Context) error { return p.ready(ctx, socket) }, p.registry, p.verbosity.Set)
		group.Go(func() error { return server.ServeHTTP(ctx, health, h) })
	}
	if scrape != nil {
		group.Go(func() error {
			return server.ServeHTTP(ctx, scrape, server.Scrape(ctx, p.registry, p.cfg.MetricsTokenFile))
		})
	}
	if p.register != nil {
		group.Go(func() error { return p.registerWithKubelet(ctx) })
	}
	return nil
}

// listenForScrapes opens the address at which others than the host may read metrics; nil if they may not.
func (p *process) listenForScrapes() (net.Listener, error) {
	if p.cfg.MetricsEndpoint == "" {
		return nil, nil
	}
	secure, err := server.SelfSigned(identity.DriverName, time.Now())
	if err != nil {
		return nil, fmt.Errorf("--metrics-endpoint: %w", err)
	}
	listener, err := net.Listen("tcp", p.cfg.MetricsEndpoint)
	if err != nil {
		return nil, fmt.Errorf("--metrics-endpoint: %w", err)
	}
	return tls.NewListener(listener, secure), nil
}

// watchPending returns what knows which operations have not come to their end. On a node nobody is told of those that are late:
// the kubelet tells.
func (p *process) watchPending() *pending.Watch {
	watch := pending.New(nil)
	if p.warner != nil {
		watch = pending.New(late(p.warner))
	}
	p.registry.MustRegister(watch)
	return watch
}

// alive reports what a restart would heal: that nobody reaches this process by its sockets any more.
func (p *process) alive(ctx context.Context, socket string) error {
	err := server.Alive(ctx, socket)
	if p.register != nil {
		err = errors.Join(err, p.register.Alive(ctx))
	}
	return err
}

// ready reports what Probe answers its callers, and why.
func (p *process) ready(ctx context.Context, socket string) error {
	err := server.Ready(ctx, socket)
	if errors.Is(err, server.ErrNotReady) {
		return fmt.Errorf("%w: %s", err, p.identity.Fault())
	}
	return err
}

func closeIf(l net.Listener) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// registerWithKubelet shows the driver to the kubelet as soon as it can say which node this is: the kubelet asks
// for that first, and backs off when it gets no answer.
func (p *process) registerWithKubelet(ctx context.Context) error {
	if err := p.self.Wait(ctx); err != nil {
		return err
	}
	l, err := p.register.Listen(p.cfg.PluginRegistrationDir)
	if err != nil {
		return fmt.Errorf("--plugin-registration-dir: %w", err)
	}
	return p.register.Serve(ctx, l)
}
