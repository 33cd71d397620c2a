// Command csi is the CSI driver for Vultr block storage: the controller, the node plugin, or both in one process.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/footprint"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/joined"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
)

func main() { os.Exit(start(os.Args[1:], os.Getenv)) }

// start reads, validates and runs, and returns the exit code. Every fault is one line.
func start(args []string, getenv func(string) string) int {
	cfg, err := Read(args, getenv)
	if errors.Is(err, pflag.ErrHelp) {
		return 0
	}
	if err == nil && cfg.ShowVersion {
		fmt.Println(version.Get().String())
		return 0
	}
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil {
		complain(err)
		return 1
	}
	footprint.Keep(getenv)
	stopTrimming := footprint.TrimLater()
	defer stopTrimming()
	// The first signal drains, a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	run := Run
	if cfg.Mode == modePreStop {
		run = preStop
	}
	if err := run(ctx, cfg); err != nil {
		complain(err)
		return 1
	}
	return 0
}

// complain prints each of joined errors on a line of its own.
func complain(err error) {
	for _, fault := range joined.Errors(err) {
		fmt.Fprintln(os.Stderr, "csi: "+strings.Join(strings.Fields(fault.Error()), " "))
	}
}
