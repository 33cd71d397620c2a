// Command image writes a container image as a docker-archive file, without a
// container runtime and without a registry:
//
//	go run ./image --name example/app:v1 --file bin/app=/app --entrypoint /app -o app.tar
//
// The file is for `ctr -n k8s.io images import` or `docker load`. Those of several architectures are joined to one OCI archive by
//
//	go run ./image --join -o app.oci.tar amd64/app.tar arm64/app.tar
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/tools/internal/archive"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// list is a flag that can be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

// Set implements flag.Value.
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// run reads the flags and writes the image.
func run(args []string) error {
	var (
		spec                         archive.Spec
		files, entry, cmd, env, tags list
		output                       string
	)
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&spec.Name, "name", "", "reference with tag that the image gets")
	flags.StringVar(&spec.Architecture, "arch", runtime.GOARCH, "architecture, as Go names it")
	flags.StringVar(&spec.BaseTar, "base", "", "tar of a root file system for the lowest layer")
	flags.StringVar(&spec.User, "user", "", `"uid:gid" to run as; root if empty`)
	flags.BoolVar(&spec.CACertificates, "ca-certificates", false, "add the public root certificates")
	flags.Var(&files, "file", "LOCAL=/IN/IMAGE, a file to add; can be given several times")
	flags.Var(&entry, "entrypoint", "entrypoint; several times for its arguments")
	flags.Var(&cmd, "cmd", "default argument; can be given several times")
	flags.Var(&env, "env", "KEY=VALUE; can be given several times")
	flags.Var(&tags, "label", "KEY=VALUE; can be given several times")
	flags.StringVar(&output, "o", "", "archive to write")
	join := flags.Bool("join", false, "join the archives that are named, each for another architecture")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if output == "" {
		return errors.New("-o names no archive")
	}
	if *join {
		return archive.WriteIndex(flags.Args(), output)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	spec.Entrypoint, spec.Command, spec.Env = entry, cmd, env
	var err error
	if spec.Files, err = parseFiles(files); err != nil {
		return err
	}
	if spec.Labels, err = parsePairs(tags); err != nil {
		return err
	}
	return archive.Write(spec, output)
}

// parseFiles splits LOCAL=/IN/IMAGE at the last "=".
func parseFiles(values []string) ([]archive.File, error) {
	files := make([]archive.File, 0, len(values))
	for _, v := range values {
		i := strings.LastIndex(v, "=")
		if i < 1 {
			return nil, fmt.Errorf("--file %q is not LOCAL=/IN/IMAGE", v)
		}
		files = append(files, archive.File{Source: v[:i], Target: v[i+1:]})
	}
	return files, nil
}

// parsePairs splits KEY=VALUE.
func parsePairs(values []string) (map[string]string, error) {
	pairs := map[string]string{}
	for _, v := range values {
		key, value, ok := strings.Cut(v, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--label %q is not KEY=VALUE", v)
		}
		pairs[key] = value
	}
	return pairs, nil
}
