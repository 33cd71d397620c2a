package suite

import (
	"context"
	"io"
	"path/filepath"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
)

// parallel is how many tests run side by side unless the definition or somebody says otherwise.
const parallel = 6

// Prepare builds what is missing of the suite and returns a run of all of its tests, of which Inside is still to be set.
func Prepare(ctx context.Context, out io.Writer, conditions Conditions) (*Run, error) {
	store, err := cache.Open(ctx, out)
	if err != nil {
		return nil, err
	}
	artifacts, err := store.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	programs, err := store.Suite(ctx, artifacts.Programs)
	if err != nil {
		return nil, err
	}
	dir, output := Directories(store.Source)
	return &Run{
		Suite: programs, Dir: dir, Kubectl: filepath.Join(artifacts.Programs, "kubectl"), Output: output,
		Conditions: conditions, Out: out,
	}, nil
}

// Directories are those of a checkout with the definitions and with what runs leave, which a cluster has to share.
func Directories(source string) (definitions, output string) {
	return filepath.Join(source, "test", "e2e", "conformance"), filepath.Join(source, "bin", "conformance")
}
