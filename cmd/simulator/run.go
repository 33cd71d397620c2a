package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/connect"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/guard"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/metadata"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/statuspage"
)

// farewell is how long open requests may take to end when the simulator does.
const farewell = 5 * time.Second

// run is the simulator's life. Everything that can fail for its surroundings comes before anything is attached.
func run(ctx context.Context, o *options, out io.Writer) (err error) {
	unlock, err := lockState(o.state)
	if err != nil {
		return err
	}
	defer unlock()
	listeners, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer listeners.close()
	authority, err := o.authority()
	if err != nil {
		return err
	}
	planes, err := openPlanes(ctx, o)
	if err != nil {
		return err
	}
	cloud, err := simulator.New(ctx, planes.config(o, klog.FromContext(ctx)))
	if err != nil {
		return errors.Join(err, planes.undo(context.WithoutCancel(ctx)))
	}
	if err := cloud.AddFaults(o.faults); err != nil {
		return errors.Join(fmt.Errorf("--faults: %w", err), cloud.Close(), planes.undo(context.WithoutCancel(ctx)))
	}
	announce(out, o, listeners)
	planes.sweep(ctx, cloud.View())

	keys, stopKeys := context.WithCancel(ctx)
	defer stopKeys()
	if o.apiKeyFile != "" {
		go followKeys(keys, o.apiKeyFile, o.keys, cloud.SetKeys)
	}
	failure := serve(ctx, cloud, listeners, authority)
	// From here on nothing is cancelled: what has begun to end, ends.
	ctx = context.WithoutCancel(ctx)
	last := cloud.View()
	err = errors.Join(failure, cloud.Close())
	planes.sweep(ctx, last)
	return errors.Join(err, planes.close(ctx, o.keepDisk))
}

// lockState makes the state directory and keeps other simulators out of it. The kernel unlocks it after a kill.
func lockState(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("--state: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--state: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errors.New("another simulator uses it")
		}
		return nil, errors.Join(fmt.Errorf("--state %s: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks; the process ends anyway
}

// authority opens that of the proxy and writes its certificate where clients find it; nil without a proxy.
func (o *options) authority() (*connect.Authority, error) {
	if o.proxyListen == "" {
		return nil, nil
	}
	authority, err := connect.OpenAuthority(filepath.Join(o.state, "proxy-ca.key"))
	if err != nil {
		return nil, err
	}
	return authority, authority.Publish(o.certificateFile())
}

func (o *options) certificateFile() string {
	if o.proxyCA != "" {
		return o.proxyCA
	}
	return filepath.Join(o.state, "proxy-ca.crt")
}

// listeners are the open ports; nil for those that are off.
type listeners struct{ api, admin, metadata, proxy net.Listener }

// open listens on all ports, and lists every one that cannot be had.
func (o *options) open(ctx context.Context) (*listeners, error) {
	l := &listeners{}
	places := []*net.Listener{&l.api, &l.admin, &l.metadata, &l.proxy}
	var faults []error
	var config net.ListenConfig
	for i, wanted := range o.listeners() {
		if wanted.address == "" {
			continue
		}
		opened, err := config.Listen(ctx, "tcp", wanted.address)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", wanted.flag, err))
			continue
		}
		*places[i] = opened
	}
	if len(faults) > 0 {
		l.close()
		return nil, errors.Join(faults...)
	}
	return l, nil
}

func (l *listeners) close() {
	for _, listener := range []net.Listener{l.api, l.admin, l.metadata, l.proxy} {
		if listener != nil {
			_ = listener.Close() // a server has closed it already, mostly
		}
	}
}

// server is what a port is served by.
type server interface {
	Serve(listener net.Listener) error
	Shutdown(ctx context.Context) error
	Close() error
}

// serve answers until ctx ends or a server fails.
func serve(ctx context.Context, cloud *simulator.Simulator, l *listeners, authority *connect.Authority) error {
	admin := http.NewServeMux()
	page := statuspage.New(cloud)
	for _, path := range statuspage.Paths {
		admin.Handle(path, page)
	}
	admin.Handle("/", cloud.AdminHandler())
	var servers []server
	failed := make(chan error, 4)
	begin := func(listener net.Listener, with func() server) {
		if listener == nil {
			return
		}
		one := with()
		servers = append(servers, one)
		go func() { failed <- one.Serve(listener) }()
	}
	begin(l.api, func() server { return guard.Server(cloud) })
	begin(l.admin, func() server {
		one := guard.Server(guard.Operator(admin))
		one.RegisterOnShutdown(page.Close)
		return one
	})
	begin(l.metadata, func() server { return guard.Server(metadata.New(cloud.MetadataByAddress, klog.FromContext(ctx))) })
	begin(l.proxy, func() server { return connect.New(authority, cloud, klog.FromContext(ctx)) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, sayGoodbye(context.WithoutCancel(ctx), cloud, servers))
}

// sayGoodbye closes the ports, releases what faults hold and gives open requests a short time to end.
func sayGoodbye(ctx context.Context, cloud *simulator.Simulator, servers []server) error {
	cloud.ClearFaults()
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	var faults []error
	for _, server := range servers {
		err := server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) { // a client that never reads its answer
			err = server.Close()
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// announce says where everything is and how long things take.
func announce(out io.Writer, o *options, l *listeners) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) } // nobody to tell when standard output is gone
	say("API            http://%s/v2", l.api.Addr())
	if l.admin != nil {
		say("status page    http://%s/", l.admin.Addr())
	}
	if l.metadata != nil {
		say("metadata       http://%s/v1.json", l.metadata.Addr())
	}
	if l.proxy != nil {
		say("api.vultr.com  HTTPS_PROXY=http://%s SSL_CERT_FILE=%s", l.proxy.Addr(), o.certificateFile())
	}
	if len(o.faults) > 0 {
		say("faults         %d in force, from %s", len(o.faults), o.faultsFile)
	}
	keys := "every key is accepted"
	if o.apiKeyFile != "" {
		keys = fmt.Sprintf("%d accepted, from %s", len(o.keys), o.apiKeyFile)
	}
	limit := "none"
	if o.rateLimit > 0 {
		limit = fmt.Sprintf("%v requests/s by %s", o.rateLimit, o.rateLimitBy)
	}
	say("API keys       %s", keys)
	say("rate limit     %s", limit)
	say("state          %s", o.state)
	say("delays         times %v:", o.timeScale)
	scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) * o.timeScale) }
	for _, d := range delayFlags(&o.delays) {
		say("  %-22s %-8s %s", d.name, scaled(*d.value), d.help)
	}
	for _, key := range slices.Sorted(maps.Keys(o.readLags)) {
		say("  %-22s %-8s %s", key, scaled(o.readLags[key]), "how far these reads lag behind writes")
	}
	growth := "after a new attach"
	if !o.growOnReattach {
		growth = scaled(o.delays.GuestGrowth).String()
	}
	say("  %-22s %-8s %s", "guest-growth", growth, "until a guest sees that a volume grew")
	say("ready")
}
