// Command ccm is the cloud controller manager for Vultr.
package main

import (
	"fmt"
	"os"

	apiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go's metrics at /metrics

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/footprint"
)

func main() { os.Exit(run()) }

func run() int {
	footprint.Keep(os.Getenv)
	command, started, err := newCommand(apiserver.SetupSignalHandler())
	if err != nil {
		return fail(err)
	}
	if err := cli.RunNoErrOutput(command); err != nil {
		if *started {
			return 1 // the library has printed it
		}
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	_, _ = fmt.Fprintf(os.Stderr, "ccm: %v\n", err) // nobody is left to tell
	return 1
}
