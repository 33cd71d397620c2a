package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/discovery/vultr"
	"github.com/vultr/govultr/v3"
	"go.yaml.in/yaml/v2"
	"golang.org/x/oauth2"
)

// runClient is the life of a client's process: it says in JSON what it found.
func runClient(name string) int {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	clients := map[string]func(context.Context) (any, error){"govultr": useGovultr, "prometheus": usePrometheus}
	found, err := clients[name](ctx)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// govultrFound is what the official library saw.
type govultrFound struct {
	Email    string // the account's
	Volume   string // its ID
	MountID  string
	Attached string // the instance
	Balancer string // its state in the end
	Missing  string // the error for what is not there
}

// useGovultr is written as its documentation says, with no word of another address.
func useGovultr(ctx context.Context) (any, error) {
	token := &oauth2.Token{AccessToken: os.Getenv("VULTR_API_KEY")}
	client := govultr.NewClient(oauth2.NewClient(ctx, oauth2.StaticTokenSource(token)))
	var found govultrFound
	account, _, err := client.Account.Get(ctx)
	if err != nil {
		return nil, err
	}
	found.Email = account.Email
	instance, _, err := client.Instance.Create(ctx, &govultr.InstanceCreateReq{Region: "ewr", Plan: "vc2-1c-1gb", OsID: 2136, Label: "worker"})
	if err != nil {
		return nil, err
	}
	volume, _, err := client.BlockStorage.Create(ctx, &govultr.BlockStorageCreate{Region: "ewr", SizeGB: 10, BlockType: "high_perf", Label: "data"})
	if err != nil {
		return nil, err
	}
	found.Volume, found.MountID = volume.ID, volume.MountID
	live := true
	err = until(ctx, func() (bool, error) {
		return client.BlockStorage.Attach(ctx, volume.ID, &govultr.BlockStorageAttach{InstanceID: instance.ID, Live: &live}) == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	err = until(ctx, func() (bool, error) {
		now, _, err := client.BlockStorage.Get(ctx, volume.ID)
		if err == nil {
			found.Attached = now.AttachedToInstance
		}
		return found.Attached != "", err
	})
	if err != nil {
		return nil, err
	}
	if found.Balancer, err = balance(ctx, client, instance.ID); err != nil {
		return nil, err
	}
	if _, _, err := client.BlockStorage.Get(ctx, "00000000-0000-4000-8000-000000000000"); err != nil {
		found.Missing = err.Error()
	}
	return found, nil
}

// balance makes a load balancer and waits for it.
func balance(ctx context.Context, client *govultr.Client, instance string) (status string, err error) {
	balancer, _, err := client.LoadBalancer.Create(ctx, &govultr.LoadBalancerReq{
		Region: "ewr", Label: "web", Instances: []string{instance},
		ForwardingRules: []govultr.ForwardingRule{{FrontendProtocol: "tcp", FrontendPort: 80, BackendProtocol: "tcp", BackendPort: 30080}},
	})
	if err != nil {
		return "", err
	}
	return "active", until(ctx, func() (bool, error) {
		now, _, err := client.LoadBalancer.Get(ctx, balancer.ID)
		if err != nil && strings.Contains(err.Error(), "Invalid load balancer ID.") {
			return false, nil // reads lag behind the create
		}
		return err == nil && now.Status == "active" && now.IPV4 != "", err
	})
}

func until(ctx context.Context, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// usePrometheus runs Prometheus' own service discovery with a configuration as in its manual, and returns the targets.
// Prometheus heeds HTTPS_PROXY only where its configuration says so.
func usePrometheus(ctx context.Context) (any, error) {
	config := vultr.DefaultSDConfig
	text := "authorization: {type: Bearer, credentials: " + os.Getenv("VULTR_API_KEY") + "}\nproxy_from_environment: true\nport: 9100\n"
	if err := yaml.UnmarshalStrict([]byte(text), &config); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	refresh := discovery.NewRefreshMetrics(registry)
	metrics := config.NewDiscovererMetrics(registry, refresh)
	if err := errors.Join(refresh.Register(), metrics.Register()); err != nil {
		return nil, err
	}
	discoverer, err := config.NewDiscoverer(discovery.DiscovererOptions{
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Metrics: metrics, SetName: "test",
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	groups := make(chan []*targetgroup.Group)
	go discoverer.Run(ctx, groups)
	select {
	case found := <-groups:
		targets := []map[string]string{}
		for _, group := range found {
			for _, target := range group.Targets {
				labels := map[string]string{}
				for name, value := range target {
					labels[string(name)] = string(value)
				}
				targets = append(targets, labels)
			}
		}
		return targets, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
