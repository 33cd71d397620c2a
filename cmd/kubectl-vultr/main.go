// Command kubectl-vultr is a plugin of kubectl ("kubectl vultr"): it says what the cloud controller manager and the CSI driver
// would say about objects, shows load balancers and volumes beside what is on the platform, finds what is paid for and used by
// nothing, and checks a cluster and its account.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	e := environment{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, cluster: kube.Connect, dial: (&net.Dialer{}).DialContext,
		now: time.Now,
	}
	code := run(ctx, os.Args[1:], e)
	stop()
	os.Exit(code)
}

// environment is what the program touches beside its arguments.
type environment struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	cluster  func(kube.Options) (*kube.Cluster, error)
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	now      func() time.Time
}

// foundError is not a failure: the question was answered, and there is something to look at.
type foundError struct{ code int }

// Error is never shown.
func (e *foundError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// answered turns the exit code of an answer into a command's result.
func answered(code int) error {
	if code == report.Clean {
		return nil
	}
	return &foundError{code}
}

// run is the program. It returns the exit code.
func run(ctx context.Context, args []string, e environment) int {
	root := newRoot(e) //nolint:contextcheck // commands get it from cobra
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if found, ok := errors.AsType[*foundError](err); ok {
		return found.code
	}
	if err != nil {
		_, _ = fmt.Fprintf(e.err, "kubectl vultr: %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  ")) // nobody is left to tell
		return report.Failed
	}
	return report.Clean
}

func userAgent() string { return version.Get().UserAgent("kubectl") }
