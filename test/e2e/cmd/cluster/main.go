// Command cluster brings up a real Kubernetes on a simulated Vultr cloud on this
// machine, shows the product on it, and takes it away again.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/box"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

const usage = `usage: cluster COMMAND
  up      start a cluster with the product installed and leave it running
  demo    show the product's main job on a cluster of its own; KEEP=1 leaves it running
  prepare build what clusters are made of, and Kubernetes' own tests, into the cache, unless it is there
  status  say what is running and how to reach it
  conformance [DEFINITION...]
          run Kubernetes' own tests of storage and of load balancers on a cluster of its own, by these
          definitions of test/e2e/conformance or by all; FOCUS and PROCS say which tests, and how many at once
  upgrade REVISION
          upgrade the product from an earlier revision of this repository, under pods that write
  migrate [csi] [ccm]
          change over from the official CSI driver under pods that write, and from the official cloud controller
          manager and back under requests, by the commands of docs/migrate.md; both, if neither is named
  chart   take over, upgrade, roll back, uninstall and install by the Helm chart, under pods that write
  down    remove what is running, also what was killed, with everything it made`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	command, rest := args[0], args[1:]
	switch {
	// Four commands that a cluster's own programs call.
	case command == box.Command && len(rest) == 1:
		return box.Init(ctx, rest[0])
	case command == cluster.HookCommand && len(rest) > 0:
		return cluster.Hook(ctx, rest[0], rest[1:])
	case command == cluster.ForwardCommand && len(rest) == 1:
		return cluster.Forward(ctx, rest[0])
	case command == cluster.NamesCommand && len(rest) == 1:
		return cluster.Names(ctx, rest[0])
	case command == "conformance":
		return conformance(ctx, rest)
	case command == "upgrade":
		return upgrade(ctx, rest)
	case command == "migrate":
		return migrate(ctx, rest)
	}
	do, known := map[string]func(context.Context) error{
		"up": up, "prepare": prepare, "down": down, "status": status, "demo": demo, "chart": chart,
	}[command]
	if !known {
		return fmt.Errorf("unknown command %q\n%s", command, usage)
	}
	if len(rest) > 0 {
		return fmt.Errorf("%s takes no argument\n%s", command, usage)
	}
	return do(ctx)
}
