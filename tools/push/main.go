// Command push pushes the images of a release to a registry, or a part of one, and writes how they are named there by their digests, one
// a line. Who it is to the registry follows from what `docker login` or `crane auth login` has kept:
//
//	push --registry registry.example.com/vultr --tag v1.2.3 -o pushed.txt bin/release/*.oci.tar
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/tools/internal/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "push:", err)
		os.Exit(1)
	}
}

// run reads the flags and pushes.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("push", flag.ContinueOnError)
	registry := flags.String("registry", "", "registry, or part of one, to push to")
	tag := flags.String("tag", "", "tag of all images")
	output := flags.String("o", "", "file to write the names to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *registry == "" || *tag == "" || *output == "" || flags.NArg() == 0 {
		return errors.New("--registry, --tag, -o and the archives of the images are needed")
	}
	pushed, err := release.Push(ctx, flags.Args(), *registry, *tag, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return err
	}
	return os.WriteFile(*output, []byte(strings.Join(pushed, "\n")+"\n"), 0o644)
}
