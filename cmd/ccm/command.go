package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/app"
	"k8s.io/cloud-provider/app/config"
	"k8s.io/cloud-provider/names"
	"k8s.io/cloud-provider/options"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
)

// serviceSyncs is how many Services are worked on at a time: changes are sent at 25 a second when a node fails, and may take the
// platform the better part of one. A deletion waits for the platform, too, and must not hold up
// the others.
const serviceSyncs = 20

// newCommand makes the library's command with our flags and controllers; what it runs ends when stop is closed. started reports
// later whether the library's part was reached, which prints its errors itself.
func newCommand(stop <-chan struct{}) (command *cobra.Command, started *bool, err error) {
	defaults, err := options.NewCloudControllerManagerOptions()
	if err != nil {
		return nil, nil, fmt.Errorf("preparing the options: %w", err)
	}
	defaults.KubeCloudShared.CloudProvider.Name = cloud.ProviderName
	defaults.ServiceController.ConcurrentServiceSyncs = serviceSyncs
	paceNodes(defaults)
	defaults.Webhook, defaults.WebhookServing = nil, nil // there are none, so no port has to be open for them

	own := cloud.NewOptions()
	flags := cliflag.NamedFlagSets{}
	own.AddFlags(flags.FlagSet("vultr"))

	p := newProcess(stop)
	initialize := func(cfg *config.CompletedConfig) cloudprovider.Interface {
		p.begin(cfg)
		return p.provider
	}
	command = app.NewCloudControllerManagerCommand(defaults, initialize, p.controllers(), aliases(), flags, p.stop)
	command.Use = "ccm"
	command.Long = "The cloud controller manager for Vultr: it tells Kubernetes about the machines behind its nodes, makes load balancers for Services, and lets pods leave a deleted machine at once."
	command.SilenceUsage = true

	started = new(bool)
	library := command.RunE
	command.RunE = func(cmd *cobra.Command, args []string) error {
		if asked := cmd.Flags().Lookup("version"); asked != nil && asked.Value.String() != "false" {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version.Get())
			return err
		}
		if err := p.connect(cmd.Context(), defaults, own, cmd.Flags()); err != nil {
			return err
		}
		*started = true
		return p.run(func() error { return library(cmd, args) })
	}
	return command, started, nil
}

// connect checks everything about the cloud before anything is started.
func (p *process) connect(ctx context.Context, common *options.CloudControllerManagerOptions, own *cloud.Options, flags *pflag.FlagSet) error {
	if name := common.KubeCloudShared.CloudProvider.Name; name != cloud.ProviderName {
		return fmt.Errorf("--cloud-provider=%s: this program is for %s only", name, cloud.ProviderName)
	}
	var unread error
	if file := common.KubeCloudShared.CloudProvider.CloudConfigFile; file != "" {
		unread = own.Load(file, flags)
	}
	if err := errors.Join(unread, own.Validate()); err != nil {
		return err
	}
	ownLease(common, own, flags)
	client, err := own.NewClient(legacyregistry.Registerer())
	if err != nil {
		return err
	}
	if err := cloud.ProveKey(ctx, client); err != nil {
		return err
	}
	p.client, p.provider, p.classOnly = client, cloud.NewProvider(client, *own), own.ClassOnly
	return p.listen(own.HealthAddress)
}

// classLease is the lease of a controller that serves the Services of its class only: it works beside another cloud controller
// manager, which has the usual one.
const classLease = "vultr-ccm-class"

func ownLease(common *options.CloudControllerManagerOptions, own *cloud.Options, flags *pflag.FlagSet) {
	if asked := flags.Lookup("leader-elect-resource-name"); own.ClassOnly && (asked == nil || !asked.Changed) {
		common.Generic.LeaderElection.ResourceName = classLease
	}
}

// aliases are the old names of controllers that --controllers accepts.
func aliases() map[string]string {
	known := names.CCMControllerAliases()
	known["fast-node-recovery"] = recovery.Name
	return known
}
