// Command simulator is a Vultr cloud on one machine: the API, the metadata service, block storage with real disks and
// load balancers with real traffic.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/joined"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
)

func main() { os.Exit(start(os.Args[1:], os.Stdout, os.Stderr)) }

// start reads, validates and runs, and returns the exit code. Every fault is one line.
func start(args []string, out, errs io.Writer) int {
	opts, err := readOptions(args, out)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err == nil && opts.showVersion:
		_, _ = fmt.Fprintln(out, version.Get().String()) // nobody to tell when standard output is gone
		return 0
	case err == nil:
		err = opts.validate()
	}
	if err != nil {
		complain(errs, err)
		return 1
	}
	// The first signal ends the simulator in order, a second one at once.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	ctx = klog.NewContext(ctx, klog.Background())
	if err := run(ctx, opts, out); err != nil {
		complain(errs, err)
		return 1
	}
	return 0
}

// complain prints each of joined errors on a line of its own.
func complain(errs io.Writer, err error) {
	for _, fault := range joined.Errors(err) {
		_, _ = fmt.Fprintln(errs, "simulator: "+strings.Join(strings.Fields(fault.Error()), " ")) // nobody to tell when standard error is gone
	}
}
