package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/suite"
)

// conformance runs Kubernetes' own tests of storage and of load balancers on a cluster of its own, for the definitions named,
// else for all.
func conformance(ctx context.Context, definitions []string) error {
	run, err := prepareSuite(ctx)
	if err != nil {
		return err
	}
	if len(definitions) == 0 {
		if definitions, err = suite.Definitions(run.Dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(run.Output, 0o755); err != nil {
		return err
	}
	c, err := cluster.Up(ctx, cluster.Options{
		What: "the conformance tests", Images: run.Suite.Images, Shared: []string{run.Dir, run.Output}, Out: os.Stdout,
	})
	if err != nil {
		return err
	}
	err = runSuite(ctx, c, run, definitions)
	if err != nil {
		err = errors.Join(err, c.SaveLogs())
	}
	return errors.Join(err, c.Down(ctx))
}

// prepareSuite builds what is missing and reads what the user asks for.
func prepareSuite(ctx context.Context) (*suite.Run, error) {
	conditions, err := scenario.SuiteConditions()
	if err != nil {
		return nil, err
	}
	run, err := suite.Prepare(ctx, os.Stdout, conditions)
	if err != nil {
		return nil, err
	}
	run.Focus = os.Getenv("FOCUS")
	if procs := os.Getenv("PROCS"); procs != "" {
		if run.Parallel, err = strconv.Atoi(procs); err != nil || run.Parallel < 1 {
			return nil, fmt.Errorf("PROCS=%s: how many tests are to run side by side", procs)
		}
	}
	return run, nil
}

// runSuite runs it for one definition after the other. After each the cloud has nothing left.
func runSuite(ctx context.Context, c *cluster.Cluster, run *suite.Run, definitions []string) error {
	w := scenario.NewWorld(c)
	if err := play(ctx, w, scenario.MainJob()[:2]); err != nil {
		return err
	}
	if err := c.ReadyForServices(ctx); err != nil {
		return err
	}
	run.Inside = c.Inside
	var faults []error
	for _, name := range definitions {
		fmt.Printf("%s: running (%s)\n", name, filepath.Join(run.Output, name+".log"))
		start := time.Now()
		result, err := run.Definition(ctx, name)
		if result != nil {
			err = errors.Join(err, result.Summary(os.Stdout), result.Err())
		}
		faults = append(faults, err)
		if ctx.Err() != nil {
			break
		}
		tell("ran", time.Since(start), name, "")
		faults = append(faults, play(ctx, w, []scenario.Step{scenario.CloudEmpty()}))
	}
	return errors.Join(faults...)
}
