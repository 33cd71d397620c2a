package main

import (
	"context"
	"errors"
	"os"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

func up(ctx context.Context) error   { return errors.New("x") }
func demo(ctx context.Context) error { return nil }
func status() error                  { return nil }

// down removes what is running.
func down(ctx context.Context) error {
	store, err := cache.Open(ctx, os.Stdout)
	if err != nil {
		return err
	}
	return cluster.RemoveAll(ctx, store.Dir, os.Stdout)
}
