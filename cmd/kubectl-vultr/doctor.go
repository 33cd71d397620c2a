package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/api"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/doctor"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

func newDoctor(c *common) *cobra.Command {
	var probe, strict bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the cluster and its account: keys, nodes, controllers, their rights, what is left of the official programs",
		Long:  "Nothing is changed. It exits with 1 if there is an error among the findings, with --strict also for a warning and for what could not be checked.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			cluster, err := c.connect()
			if err != nil {
				return err
			}
			g := doctor.Gatherer{
				Cluster: cluster, Version: version.Get().Version, Now: c.now,
				Connect: func(key string) (doctor.API, error) { return connected(api.New(key, c.apiURL, userAgent())) },
				Key:     strings.TrimSpace(c.getenv(api.EnvKey)), Source: "environment variable " + api.EnvKey,
			}
			if probe {
				g.Dial = c.dial
			}
			findings := doctor.Examine(g.Gather(cmd.Context()))
			err = c.write(findings, func(tab *report.Tab) {
				tab.Findings(findings)
				tab.Note("")
				tab.Note("%d errors, %d warnings, %d checks could not be made.",
					report.Count(findings, report.Error), report.Count(findings, report.Warning), report.Count(findings, report.Unknown))
			})
			if err != nil {
				return err
			}
			return answered(report.Code(findings, strict))
		},
	}
	cmd.Flags().BoolVar(&probe, "probe-node-ports", false, "connect from here to a node port of each node that has a public address")
	cmd.Flags().BoolVar(&strict, "strict", false, "count warnings, and what could not be checked, as errors")
	return cmd
}

// connected keeps a failure from becoming an interface that is not nil.
func connected(client *api.Client, err error) (doctor.API, error) {
	if err != nil {
		return nil, err
	}
	return client, nil
}
