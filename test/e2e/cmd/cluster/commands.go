package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/suite"
)

// prepare fills the cache.
func prepare(ctx context.Context) error {
	_, err := suite.Prepare(ctx, os.Stdout, nil)
	return err
}

// up starts a cluster, installs the product and leaves both running.
func up(ctx context.Context) error {
	c, err := cluster.Up(ctx, cluster.Options{What: "cluster up", Out: os.Stdout})
	if err != nil {
		return err
	}
	installed := scenario.MainJob()[:2]
	if err := play(ctx, scenario.NewWorld(c), installed); err != nil {
		return errors.Join(err, c.Down(ctx))
	}
	if err := keep(ctx, c); err != nil {
		return errors.Join(err, c.Down(ctx))
	}
	return nil
}

// demo plays the main job on a cluster of its own.
func demo(ctx context.Context) error {
	start := time.Now()
	c, err := cluster.Up(ctx, cluster.Options{What: "demo", Out: os.Stdout})
	if err != nil {
		return err
	}
	tell("ok", time.Since(start), "a Kubernetes on a simulated cloud", "two workers")
	kept := os.Getenv("KEEP") != "" && os.Getenv("KEEP") != "0"
	steps := scenario.MainJob()
	if !kept {
		steps = append(steps, scenario.AccountEmpty())
	}
	if kept {
		// What is to be looked at stays: everything but the end.
		steps = steps[:len(steps)-1]
	}
	w := scenario.NewWorld(c)
	err = play(ctx, w, steps)
	if err != nil {
		err = errors.Join(err, c.SaveLogs())
	}
	if kept && err == nil {
		printReport(w.Report, start, c)
		return keep(ctx, c)
	}
	removal := time.Now()
	if downErr := c.Down(ctx); downErr != nil {
		return errors.Join(err, downErr)
	}
	tell("ok", time.Since(removal), "the cluster is removed", "nothing is left of it")
	if err == nil {
		printReport(w.Report, start, c)
	}
	return err
}

// play plays steps until one fails, a line for each.
func play(ctx context.Context, w *scenario.World, steps []scenario.Step) error {
	for _, step := range steps {
		start := time.Now()
		detail, err := step.Do(ctx, w)
		if skipped, ok := errors.AsType[*scenario.SkippedError](err); ok {
			tell("skip", time.Since(start), step.Name, skipped.Why)
			continue
		}
		if err != nil {
			tell("FAILED", time.Since(start), step.Name, "")
			return fmt.Errorf("%s: %w", step.Name, err)
		}
		tell("ok", time.Since(start), step.Name, detail)
	}
	return nil
}

// printReport shows what was measured on the way.
func printReport(r *scenario.Report, start time.Time, c *cluster.Cluster) {
	r.Add("all of it held, in %s; at most %d MB of memory at once", time.Since(start).Round(time.Second), c.PeakMemory()>>20)
	fmt.Println("\nMeasured in this run:")
	for _, line := range r.Take() {
		fmt.Println("  " + line)
	}
}

func tell(result string, took time.Duration, name, detail string) {
	if detail != "" {
		detail = " (" + detail + ")"
	}
	fmt.Printf("%-6s %6.1f s  %s%s\n", result, took.Seconds(), name, detail)
}

// keep leaves the cluster running and says how to reach it.
func keep(ctx context.Context, c *cluster.Cluster) error {
	reachable, err := c.Keep(ctx)
	if err != nil {
		return err
	}
	reachable.Print(os.Stdout)
	fmt.Println("  make cluster-down removes it")
	return nil
}

// status says what is running.
func status(context.Context) error {
	dir, err := cache.Dir()
	if err != nil {
		return err
	}
	running, err := cluster.Running(dir)
	if err != nil {
		return err
	}
	if len(running) == 0 {
		fmt.Println("no cluster is running")
	}
	for _, r := range running {
		r.Print(os.Stdout)
	}
	return nil
}

// down removes what is running.
func down(ctx context.Context) error {
	dir, err := cache.Dir()
	if err != nil {
		return err
	}
	return cluster.RemoveAll(ctx, dir, os.Stdout)
}
