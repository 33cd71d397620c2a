package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
)

// upgrade upgrades the product from an earlier revision of this repository to what is here, under pods that write.
func upgrade(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("upgrade takes one revision, from which to upgrade\n%s", usage)
	}
	store, err := cache.Open(ctx, os.Stdout)
	if err != nil {
		return err
	}
	before, err := store.Before(ctx, args[0])
	if err != nil {
		return err
	}
	return onItsOwn(ctx, cluster.Options{What: "the upgrade", Images: before.Images, Out: os.Stdout}, scenario.Upgrade(before))
}

// The parts of a migration, each of which can be played by itself.
var migrations = map[string]func() []scenario.Step{"csi": scenario.Migration, "ccm": scenario.Switch}

// migrate changes over from the official programs by the commands of the documentation: from the CSI driver under pods that write, and
// from the cloud controller manager, and back, under requests. Without a part it is both, one after the other in one cluster.
func migrate(ctx context.Context, parts []string) error {
	if len(parts) == 0 {
		parts = []string{"csi", "ccm"}
	}
	var steps []scenario.Step
	for _, part := range parts {
		those, known := migrations[part]
		if !known {
			return fmt.Errorf("a migration has the parts csi and ccm, not %q\n%s", part, usage)
		}
		steps = append(steps, those()...)
	}
	store, err := cache.Open(ctx, os.Stdout)
	if err != nil {
		return err
	}
	official, err := store.Official(ctx)
	if err != nil {
		return err
	}
	// The commands name directories of the checkout.
	options := cluster.Options{What: "the migration", Images: []string{official}, Shared: []string{store.Source}, Out: os.Stdout}
	return onItsOwn(ctx, options, steps)
}

// chart takes the product through the life of a Helm release, under pods that write. bin/helm has to be there.
func chart(ctx context.Context) error {
	store, err := cache.Open(ctx, os.Stdout)
	if err != nil {
		return err
	}
	// The commands name the chart and helm in the checkout.
	options := cluster.Options{What: "the chart", Shared: []string{store.Source}, Out: os.Stdout}
	return onItsOwn(ctx, options, scenario.Chart())
}

// onItsOwn plays steps on a cluster of their own, which is removed afterwards; if one fails, the logs are kept.
func onItsOwn(ctx context.Context, options cluster.Options, steps []scenario.Step) error {
	c, err := cluster.Up(ctx, options)
	if err != nil {
		return err
	}
	if err = play(ctx, scenario.NewWorld(c), steps); err != nil {
		err = errors.Join(err, c.SaveLogs())
	}
	return errors.Join(err, c.Down(ctx))
}
