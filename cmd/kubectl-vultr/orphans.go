package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/api"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/orphans"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

// An orphan must have been there for a while: the controllers make things some time before Kubernetes knows of them.
const (
	defaultAge  = 24 * time.Hour
	shortestAge = time.Hour
)

type orphansCommand struct {
	*common

	id     string
	minAge time.Duration
	remove []string
}

func newOrphans(c *common) *cobra.Command {
	o := &orphansCommand{common: c}
	cmd := &cobra.Command{
		Use:   "orphans",
		Short: "Find what is the cluster's by proof, is paid for, and is used by nothing in the cluster",
		Long: "Load balancers, block storage, shared file systems and snapshots. What is not proven to be this cluster's is not shown.\n" +
			"With --delete those are deleted whose IDs it names, each after it was looked at again and its ID was typed once more. What they hold is gone then.\n" +
			"It exits with 1 if there are orphans (with --delete: if one that was named is still there), and with 2 if something could not be looked at.",
		Example: "  kubectl vultr orphans\n  kubectl vultr orphans --delete 5d6c0e2a-7c41-4f0e-8d1b-0b8d2f0a9c11",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&o.id, "cluster-id", "", "the cluster's ID in the labels of its volumes; if empty, that of the CSI controller (--cluster-id)")
	cmd.Flags().DurationVar(&o.minAge, "min-age", defaultAge, fmt.Sprintf("how old an orphan must be, at least %s", shortestAge))
	cmd.Flags().StringSliceVar(&o.remove, "delete", nil, "IDs of orphans to delete, separated by commas; each is asked for once more")
	return cmd
}

func (o *orphansCommand) run(ctx context.Context) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.minAge < shortestAge {
		return fmt.Errorf("--min-age=%s: must be at least %s, since what was just made may be about to be used", o.minAge, shortestAge)
	}
	search, client, err := o.search(ctx)
	if err != nil {
		return err
	}
	found, err := search.Look(ctx)
	if err != nil {
		return err
	}
	if len(o.remove) > 0 {
		return o.delete(ctx, search, client, found)
	}
	if err := o.show(found); err != nil {
		return err
	}
	switch {
	case len(found.Unknown) > 0:
		return answered(report.Failed)
	case len(found.Orphans) > 0:
		return answered(report.Found)
	}
	return nil
}

func (o *orphansCommand) search(ctx context.Context) (*orphans.Search, *api.Client, error) {
	cluster, err := o.connect()
	if err != nil {
		return nil, nil, err
	}
	id := ownership.Cluster(o.id)
	if id == "" {
		workloads, err := cluster.Workloads(ctx)
		if err != nil {
			return nil, nil, err
		}
		installed, err := kube.SettingsOf(workloads)
		if err != nil {
			return nil, nil, err
		}
		id = installed.Cluster
	}
	if err := id.Validate(); err != nil {
		return nil, nil, fmt.Errorf("--cluster-id: %w", err)
	}
	if id == "" {
		say(o.err, "The CSI controller has no --cluster-id, so no volume is known to be this cluster's: of volumes nothing is shown.")
	}
	client, err := o.platform(ctx, cluster, kube.CSISecret, kube.CCMSecret)
	if err != nil {
		return nil, nil, err
	}
	return &orphans.Search{API: client, Cluster: cluster, ID: id, MinAge: o.minAge, Now: o.now}, client, nil
}

// answer is what is shown in JSON and YAML.
type answer struct {
	Orphans     []orphans.Orphan `json:"orphans"`
	MonthlyCost float64          `json:"monthlyCost"`
	Unknown     []string         `json:"unknown,omitempty"`
}

func (o *orphansCommand) show(found orphans.Result) error {
	a := answer{Orphans: found.Orphans, MonthlyCost: orphans.Cost(found.Orphans)}
	if a.Orphans == nil {
		a.Orphans = []orphans.Orphan{}
	}
	for _, err := range found.Unknown {
		a.Unknown = append(a.Unknown, err.Error())
	}
	return o.write(a, func(tab *report.Tab) { orphans.Table(tab, found, o.now()) })
}

// deletion is what became of one ID that was named.
type deletion struct {
	ID      string `json:"id"`
	Kind    string `json:"kind,omitempty"`
	Outcome string `json:"outcome"`
	Deleted bool   `json:"deleted"`
}

// delete deletes the orphans that were named, one after the other, each after it was confirmed.
func (o *orphansCommand) delete(ctx context.Context, search *orphans.Search, client *api.Client, found orphans.Result) error {
	answers := bufio.NewScanner(o.in)
	var all []deletion
	code := report.Clean
	for _, id := range o.remove {
		d := o.one(ctx, answers, search, client, found, strings.TrimSpace(id))
		if !d.Deleted {
			code = report.Found
		}
		all = append(all, d)
		if ctx.Err() != nil {
			break
		}
	}
	err := o.write(all, func(tab *report.Tab) {
		tab.Row("ID", "KIND", "OUTCOME")
		for _, d := range all {
			tab.Row(d.ID, d.Kind, d.Outcome)
		}
	})
	if err != nil {
		return err
	}
	return errors.Join(ctx.Err(), answered(code))
}

func (o *orphansCommand) one(ctx context.Context, answers *bufio.Scanner, search *orphans.Search, client *api.Client, found orphans.Result, id string) deletion {
	orphan := orphans.Get(found.Orphans, id)
	switch {
	case orphan == nil:
		return deletion{ID: id, Outcome: "not deleted: it is not a known orphan of this cluster"}
	case orphan.Kept != "":
		return deletion{ID: id, Kind: string(orphan.Kind), Outcome: "not deleted: " + orphan.Kept}
	}
	d := deletion{ID: orphan.ID, Kind: string(orphan.Kind)}
	if !o.confirmed(answers, *orphan) {
		d.Outcome = "not deleted: its ID was not typed"
		return d
	}
	gone, err := search.Delete(ctx, client, *orphan)
	switch {
	case err != nil:
		d.Outcome = err.Error()
	case gone:
		d.Deleted, d.Outcome = true, "it was gone before"
	default:
		d.Deleted, d.Outcome = true, "deleted"
	}
	return d
}

// confirmed asks a person. Whatever is not the whole ID means no, and so does the end of the input.
func (o *orphansCommand) confirmed(answers *bufio.Scanner, orphan orphans.Orphan) bool {
	size := ""
	if orphan.SizeGiB > 0 {
		size = fmt.Sprintf(", %d GiB", orphan.SizeGiB)
	}
	say(o.err, "Delete %s %s (%q%s, %s old, %s dollars a month, made for %q)? %s.\nWhat it holds cannot be brought back. Type its ID to delete it:",
		orphan.Kind, orphan.ID, orphan.Label, size, orphans.Days(orphan.Age(o.now())), orphans.Dollars(orphan.MonthlyCost), orphan.For, "It is this cluster's because "+orphan.Proof)
	return answers.Scan() && strings.EqualFold(strings.TrimSpace(answers.Text()), orphan.ID)
}
