package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/box"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
)

// ForwardCommand is the argument by which the cluster command becomes the
// forwarder of a cluster that is left running; the run's directory follows.
const ForwardCommand = "forward"

// forwarding is what a run's owner calls itself when it is the forwarder.
const forwarding = "left running"

// Reachable says where on this machine a cluster that is left running is found.
type Reachable struct {
	ID         string
	Kubeconfig string
	Kubectl    string   // the cache's own program
	Apiserver  string   // address on 127.0.0.1
	StatusPage string   // URL
	Balancers  []Listen // ports of load balancers
}

// Listen is one forwarded port.
type Listen struct {
	Label  string // of the load balancer
	Target string // address and port in the cluster's network
	Local  string // address and port on this machine
}

// Keep leaves the cluster running when this program ends, with a forwarder that
// makes it reachable on 127.0.0.1.
func (c *Cluster) Keep(ctx context.Context) (Reachable, error) {
	path := c.run.cgroup("forward")
	if err := cgroup.Create(path); err != nil {
		return Reachable{}, err
	}
	log, err := os.Create(c.run.path("logs", "forward.log"))
	if err != nil {
		return Reachable{}, err
	}
	defer func() { _ = log.Close() }()                                                 // the forwarder has its own
	forwarder := exec.Command(c.run.path("bin", "cluster"), ForwardCommand, c.run.Dir) //nolint:gosec,noctx // G204: this very program; it outlives the call
	forwarder.Stdout, forwarder.Stderr = log, log
	forwarder.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// The lock goes with the file: at no moment is the run without an owner.
	forwarder.ExtraFiles = []*os.File{c.run.lock}
	if err := forwarder.Start(); err != nil {
		return Reachable{}, err
	}
	if err := forwarder.Process.Release(); err != nil {
		return Reachable{}, err
	}
	var r Reachable
	err = c.Eventually(ctx, "the forwarder listens", time.Minute, func(context.Context) error {
		r, err = c.run.reachable()
		return err
	})
	return r, err
}

// reachable reads what the forwarder wrote.
func (r *Run) reachable() (Reachable, error) {
	var found Reachable
	content, err := os.ReadFile(r.path("forward.json"))
	if err != nil {
		return found, err
	}
	return found, json.Unmarshal(content, &found)
}

// Running lists the clusters that were left running.
func Running(cacheDir string) ([]Reachable, error) {
	all, err := runs(cacheDir)
	if err != nil {
		return nil, err
	}
	var found []Reachable
	for _, r := range all {
		reachable, err := r.reachable()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, reachable)
	}
	return found, nil
}

// Forward forwards ports of this machine to a run until it is killed with it.
func Forward(ctx context.Context, runDir string) error {
	r, config, err := openRun(runDir)
	if err != nil {
		return err
	}
	// File 3 is the run's lock; it is held by being open.
	r.lock = os.NewFile(3, "lock")
	content, err := json.Marshal(owner{PID: os.Getpid(), What: forwarding})
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.path("owner.json"), content, 0o600); err != nil {
		return err
	}
	if err := cgroup.Join(r.cgroup("forward")); err != nil {
		return err
	}
	key, err := os.ReadFile(r.path("api-key"))
	if err != nil {
		return err
	}
	f := &forwarder{run: r, kubectl: config.program("kubectl"), outer: box.NewClient(r.path(outerName))}
	c := &Cluster{run: r, outer: f.outer}
	f.cloud = cloudWeb(strings.TrimSpace(string(key)), c.HTTP())
	return f.serve(ctx)
}

// forwarder listens on this machine for a run.
type forwarder struct {
	run       *Run
	kubectl   string
	outer     *box.Client
	cloud     *Web
	reachable Reachable
	listeners map[string]net.Listener // of load balancers, by target
}

func (f *forwarder) serve(ctx context.Context) error {
	apiserver, err := f.listen(ctx, hostAddress+":"+apiserverPort)
	if err != nil {
		return err
	}
	status, err := f.listen(ctx, hostAddress+":"+adminPort)
	if err != nil {
		return err
	}
	f.listeners = map[string]net.Listener{}
	f.reachable = Reachable{
		ID: f.run.ID, Kubeconfig: f.run.path("kubeconfig"), Kubectl: f.kubectl,
		Apiserver: apiserver.Addr().String(), StatusPage: "http://" + status.Addr().String() + "/",
	}
	config, err := clientcmd.LoadFromFile(f.run.path("pki", "admin.kubeconfig"))
	if err != nil {
		return err
	}
	config.Clusters["cluster"].Server = "https://" + f.reachable.Apiserver
	if err := clientcmd.WriteToFile(*config, f.reachable.Kubeconfig); err != nil {
		return err
	}
	for first := true; ; first = false {
		changed, err := f.followBalancers(ctx)
		if err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "load balancers:", err) // the cloud may be restarting
		}
		if changed || first {
			if err := f.tell(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// tell writes what is reachable for whoever asks, whole at once.
func (f *forwarder) tell() error {
	content, err := json.MarshalIndent(f.reachable, "", "  ")
	if err != nil {
		return err
	}
	file := f.run.path("forward.json")
	if err := os.WriteFile(file+".part", content, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".part", filepath.Clean(file))
}

// listen forwards a port that the system chooses.
func (f *forwarder) listen(ctx context.Context, target string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go f.forward(ctx, conn, target)
		}
	}()
	return listener, nil
}

func (f *forwarder) forward(ctx context.Context, conn net.Conn, target string) {
	defer func() { _ = conn.Close() }()
	remote, err := f.outer.Dial(ctx, "tcp", target)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return
	}
	defer func() { _ = remote.Close() }()
	box.Splice(remote, conn)
}

// CloudBalancer is a load balancer as the API shows it.
type CloudBalancer struct {
	ID        string   `json:"id"`
	Label     string   `json:"label"`
	Status    string   `json:"status"`
	IPv4      string   `json:"ipv4"`
	Instances []string `json:"instances"`
	Rules     []struct {
		FrontendProtocol string `json:"frontend_protocol"`
		FrontendPort     int    `json:"frontend_port"`
		BackendPort      int    `json:"backend_port"`
	} `json:"forwarding_rules"`
}

// Balancers lists the load balancers in the cloud.
func (w *Web) Balancers(ctx context.Context) ([]CloudBalancer, error) {
	var answer struct {
		Balancers []CloudBalancer `json:"load_balancers"`
	}
	err := w.Get(ctx, "/v2/load-balancers?per_page=500", &answer)
	return answer.Balancers, err
}

// followBalancers listens for the load balancers' ports that there are now.
func (f *forwarder) followBalancers(ctx context.Context) (bool, error) {
	balancers, err := f.cloud.Balancers(ctx)
	if err != nil {
		return false, err
	}
	var wanted []Listen
	for _, b := range balancers {
		for _, rule := range b.Rules {
			if b.IPv4 != "" && rule.FrontendProtocol != "udp" {
				wanted = append(wanted, Listen{Label: b.Label, Target: fmt.Sprintf("%s:%d", b.IPv4, rule.FrontendPort)})
			}
		}
	}
	changed := false
	for target, listener := range f.listeners {
		if !slices.ContainsFunc(wanted, func(l Listen) bool { return l.Target == target }) {
			changed = true
			delete(f.listeners, target)
			if err := listener.Close(); err != nil {
				return changed, err
			}
		}
	}
	for i, l := range wanted {
		listener, known := f.listeners[l.Target]
		if !known {
			changed = true
			if listener, err = f.listen(ctx, l.Target); err != nil {
				return changed, err
			}
			f.listeners[l.Target] = listener
		}
		wanted[i].Local = listener.Addr().String()
	}
	f.reachable.Balancers = wanted
	return changed, nil
}

// Print says how to reach the cluster.
func (r Reachable) Print(out io.Writer) {
	_, _ = fmt.Fprintf(out, "cluster %s is running\n  export KUBECONFIG=%s\n  kubectl, if there is none: %s\n  the simulated cloud: %s\n",
		r.ID, r.Kubeconfig, r.Kubectl, r.StatusPage)
	for _, b := range r.Balancers {
		_, _ = fmt.Fprintf(out, "  load balancer %s, %s: http://%s/\n", b.Label, b.Target, b.Local)
	}
}
