package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/box"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
)

// Options say what kind of cluster is wanted.
type Options struct {
	// What names the program that uses the cluster, for others that find it.
	What string
	// Program is the cluster command (cmd/cluster); this very program when empty.
	Program string
	// Workers is how many instances to create; 2 when 0.
	Workers int
	// FaultPoints installs the product's programs with the places where a test can stop them.
	FaultPoints bool
	// Images are archives of images that the workers have besides those of the product and of the cluster itself.
	Images []string
	// Shared are directories of this machine that programs see which Inside runs.
	Shared []string
	// Out takes what is being done.
	Out io.Writer
}

// Cluster is a running cluster.
type Cluster struct {
	// Kubernetes is the administrator's client.
	Kubernetes kubernetes.Interface
	// Cloud is the simulated cloud's API and Admin what steers and observes the simulation.
	Cloud, Admin *Web

	// Source is the checkout of this project that the cluster is made of.
	Source string

	run     *Run
	config  runConfig
	options Options
	outer   *box.Client
	rest    *rest.Config
	client  *http.Client

	peak       atomic.Int64 // bytes of memory
	stopMemory func()
}

// Up brings up a cluster: the control plane, the simulated cloud and workers
// that have registered as nodes. What it cannot finish it removes.
func Up(ctx context.Context, options Options) (*Cluster, error) {
	if err := checkMachine(); err != nil {
		return nil, err
	}
	if options.Workers == 0 {
		options.Workers = 2
	}
	store, err := cache.Open(ctx, options.Out)
	if err != nil {
		return nil, err
	}
	if err := RemoveDead(ctx, store.Dir, options.Out); err != nil {
		return nil, err
	}
	artifacts, err := store.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	artifacts.Images = append(artifacts.Images, options.Images...)
	run, err := newRun(store.Dir, options.What)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		Source: store.Source,
		run:    run, options: options, outer: box.NewClient(run.path(outerName)),
		config: runConfig{CacheDir: store.Dir, Artifacts: artifacts},
	}
	c.stopMemory = c.watchMemory(ctx)
	if err := c.start(ctx); err != nil {
		if ctx.Err() == nil { // else it was interrupted, and there is no failure to look for
			err = errors.Join(err, c.SaveLogs())
		}
		return nil, errors.Join(err, c.Down(ctx))
	}
	return c, nil
}

// checkMachine refuses a machine on which nothing could work, before anything is made.
func checkMachine() error {
	if os.Geteuid() != 0 {
		return errors.New("a cluster has to be started by root: it makes namespaces, cgroups and loop devices")
	}
	for _, program := range []string{"go", "make", "tar"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("the program %s is missing", program)
		}
	}
	return nil
}

// start makes everything in the run's directory.
func (c *Cluster) start(ctx context.Context) error {
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"build the product", c.buildProduct},
		{"make certificates", func(context.Context) error { return c.run.writePKI() }},
		{"make the outer network", c.startOuter},
		{"start the simulated cloud", c.startCloud},
		{"create the instances", c.createInstances},
		{"start the control plane", c.startControlPlane},
		{"wait for the nodes", c.waitNodes},
	}
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// Down removes the cluster with everything it made.
func (c *Cluster) Down(ctx context.Context) error {
	c.stopMemory()
	return c.run.remove(ctx)
}

// Say tells the user something.
func (c *Cluster) Say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.options.Out, format+"\n", args...) // progress is no reason to fail
}

// Dial opens a connection from inside the cluster's network.
func (c *Cluster) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.outer.Dial(ctx, network, address)
}

// HTTP is a client from inside the cluster's network. It never uses a connection twice.
func (c *Cluster) HTTP() *http.Client {
	if c.client == nil {
		c.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: c.Dial, DisableKeepAlives: true}}
	}
	return c.client
}

// Rest is the configuration of the administrator's clients.
func (c *Cluster) Rest() *rest.Config {
	if c.rest == nil {
		config, err := clientcmd.BuildConfigFromFlags("", c.run.path("pki", "admin.kubeconfig"))
		if err != nil {
			// The file was written by this process; without it there is nothing to go on with.
			config = &rest.Config{Host: apiserverURL}
		}
		config.Dial = c.Dial
		config.QPS, config.Burst = 50, 100
		c.rest = config
	}
	return c.rest
}

// Kubectl runs kubectl in the outer box as administrator.
func (c *Cluster) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	argv := append([]string{c.config.program("kubectl"), "--kubeconfig=" + c.run.path("pki", "admin.kubeconfig")}, args...)
	return c.outer.RunProgram(ctx, box.Program{Argv: argv, Stdin: stdin})
}

// Inside runs a program in the cluster's network, as the administrator (KUBECONFIG), and returns what it wrote. It sees the cache
// and the directories that are shared. When it is cut off, it is killed with all that it has started.
func (c *Cluster) Inside(ctx context.Context, argv ...string) (string, error) {
	return c.outer.RunProgram(ctx, box.Program{Argv: argv, Env: []string{"KUBECONFIG=" + c.run.path("pki", "admin.kubeconfig")}})
}

// WorkerHTTP is a client from inside an instance's machine.
func (c *Cluster) WorkerHTTP(i CloudInstance) *http.Client {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		m, err := recall(c.run, c.config, i.ID)
		if err != nil {
			return nil, err
		}
		if m == nil {
			return nil, fmt.Errorf("the instance %s has no machine", i.ID)
		}
		return m.client.Dial(ctx, network, address)
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
}

// Eventually asks until the answer is nil. It gives up when the time is over or
// when a program of the control plane has died.
func (c *Cluster) Eventually(ctx context.Context, what string, limit time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var before error
	for n := 0; ; n++ {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil && before != nil {
			err = before // a question that was cut off says nothing
		}
		before = err
		if n%10 == 9 {
			if dead := c.deadProgram(ctx); dead != nil {
				return dead
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not so after %s: %s: %w", limit, what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// deadProgram names a program of the outer box that has ended, with its last words.
func (c *Cluster) deadProgram(ctx context.Context) error {
	programs, err := c.outer.Programs(ctx)
	if err != nil {
		return fmt.Errorf("the outer box does not answer: %w", err)
	}
	for _, p := range programs {
		if !p.Running && !strings.HasPrefix(p.Name, "worker-") && p.Code != 128+9 {
			return fmt.Errorf("%s has ended with code %d: %s", p.Name, p.Code, lastLines(c.run.path("logs", p.Name+".log"), 3))
		}
	}
	return nil
}

// lastLines returns the end of a log.
func lastLines(file string, n int) string {
	content, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
