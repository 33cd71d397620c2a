package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/api"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/balancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/volumes"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// listAge lets lists of one command be shared.
const listAge = time.Minute

func newBalancers(c *common) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "lb",
		Aliases: []string{"loadbalancers", "load-balancers"},
		Short:   "Show the load balancer of each Service: what it is, what it is to be, where the two differ",
		Long:    "It exits with 1 if a Service has none, has faults, or has one that is not as asked for.",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			shown, err := c.balancers(cmd.Context(), all)
			if err != nil {
				return err
			}
			if err := c.write(shown, func(tab *report.Tab) { balancers.Table(tab, shown) }); err != nil {
				return err
			}
			if slices.ContainsFunc(shown, func(b balancers.Balancer) bool { return b.State.Trouble() }) {
				return answered(report.Found)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "show the account's other load balancers, too")
	return c.namespaced(cmd)
}

func (c *common) balancers(ctx context.Context, all bool) ([]balancers.Balancer, error) {
	cluster, err := c.connect()
	if err != nil {
		return nil, err
	}
	client, err := c.platform(ctx, cluster, kube.CCMSecret, kube.CSISecret)
	if err != nil {
		return nil, err
	}
	in := balancers.Input{All: all}
	// All Services: whose a load balancer is shows only among all.
	if in.Services, err = cluster.Services(ctx, ""); err != nil {
		return nil, err
	}
	if in.Nodes, err = cluster.Nodes(ctx); err != nil {
		return nil, err
	}
	record, err := cluster.Ledger(ctx)
	if err != nil {
		return nil, err
	}
	in.Entries = record.All()
	workloads, err := cluster.Workloads(ctx)
	if err != nil {
		return nil, err
	}
	installed, err := c.settings(ctx, cluster, workloads)
	if err != nil {
		return nil, err
	}
	in.Defaults, in.KubeProxyPort = installed.Defaults, installed.KubeProxyPort
	if in.Named, err = c.named(ctx, cluster, in.Services); err != nil {
		return nil, err
	}
	list, err := client.LoadBalancers(ctx, listAge)
	if err != nil {
		return nil, fmt.Errorf("listing the load balancers: %w", err)
	}
	instances, err := client.Instances(ctx, listAge)
	if err != nil {
		return nil, fmt.Errorf("listing the instances: %w", err)
	}
	in.LoadBalancers, in.Instances = list.Items, instances.Items
	namespace := c.chosen(cluster)
	shown := []balancers.Balancer{}
	for _, b := range balancers.Show(in) {
		if namespace == "" || b.Service == "" || strings.HasPrefix(b.Service, namespace+"/") {
			shown = append(shown, b)
		}
	}
	return shown, nil
}

// settings are those of the controllers. What of them is not known is said.
func (c *common) settings(ctx context.Context, cluster *kube.Cluster, workloads []kube.Workload) (kube.Settings, error) {
	installed, err := cluster.Settings(ctx, workloads)
	if installed.Unread != nil {
		say(c.err, "Services are judged without the cluster's defaults: %v", installed.Unread)
	}
	return installed, err
}

// named is what the objects say that Services name. What of them is not known is said.
func (c *common) named(ctx context.Context, cluster *kube.Cluster, services []*v1.Service) (map[types.UID][]plan.Option, error) {
	named, hidden, err := cluster.Named(ctx, services)
	for _, refusal := range hidden {
		say(c.err, "It is not judged: %v", refusal)
	}
	return named, err
}

func newVolumes(c *common) *cobra.Command {
	return c.namespaced(&cobra.Command{
		Use:     "volumes",
		Aliases: []string{"volume"},
		Short:   "Show claims with their volumes on the platform, the instances that have them, and what they cost",
		Long:    "It exits with 1 if something does not fit together.",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			shown, err := c.volumes(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.write(shown, func(tab *report.Tab) { volumes.Table(tab, shown) }); err != nil {
				return err
			}
			if volumes.Trouble(shown) {
				return answered(report.Found)
			}
			return nil
		},
	})
}

func (c *common) volumes(ctx context.Context) ([]volumes.Volume, error) {
	cluster, err := c.connect()
	if err != nil {
		return nil, err
	}
	client, err := c.platform(ctx, cluster, kube.CSISecret, kube.CCMSecret)
	if err != nil {
		return nil, err
	}
	in := volumes.Input{Namespace: c.chosen(cluster)}
	if in.PVs, err = cluster.Volumes(ctx); err != nil {
		return nil, err
	}
	if in.Attachments, err = cluster.Attachments(ctx); err != nil {
		return nil, err
	}
	if in.Nodes, err = cluster.Nodes(ctx); err != nil {
		return nil, err
	}
	blocks, err := client.Volumes(ctx, listAge)
	if err != nil {
		return nil, fmt.Errorf("listing the volumes: %w", err)
	}
	in.Blocks = blocks.Items
	systems, err := client.FileSystems(ctx, listAge)
	switch {
	case vultr.IsForbidden(err):
		say(c.err, "Shared file systems are not shown: %v", err) // not every account has them
	case err != nil:
		return nil, fmt.Errorf("listing the file systems: %w", err)
	}
	in.FileSystems = systems.Items
	if in.Shared, err = attachments(ctx, client, in); err != nil {
		return nil, err
	}
	if shown := volumes.Show(in); shown != nil {
		return shown, nil
	}
	return []volumes.Volume{}, nil // an empty list in JSON
}

// attachments reads which instances have the file systems that are PersistentVolumes: a call for each.
func attachments(ctx context.Context, client *api.Client, in volumes.Input) (map[string][]vultr.FileSystemAttachment, error) {
	ours := map[string]bool{}
	for _, pv := range in.PVs {
		ours[strings.ToLower(pv.Spec.CSI.VolumeHandle)] = true
	}
	all := map[string][]vultr.FileSystemAttachment{}
	for _, f := range in.FileSystems {
		id := strings.ToLower(f.ID)
		if !ours[id] {
			continue
		}
		list, err := client.FileSystemAttachments(ctx, f.ID, listAge)
		if err != nil && !vultr.IsNotFound(err) {
			return nil, fmt.Errorf("which instances have file system %s: %w", f.ID, err)
		}
		all[id] = list.Items
	}
	return all, nil
}
