// Command sbom writes what is in a program or a container image as an SPDX document:
//
//	go run ./sbom --name example/app --version v1 --program bin/app --root rootfs.tar -o app.spdx.json
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/tools/internal/sbom"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// run reads the flags and writes the document.
func run(args []string) error {
	var (
		spec   sbom.Spec
		output string
	)
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	flags.StringVar(&spec.Name, "name", "", "name of the program or image")
	flags.StringVar(&spec.Version, "version", "", "its version")
	flags.StringVar(&spec.Architecture, "arch", runtime.GOARCH, "architecture, as Go names it")
	flags.StringVar(&spec.Root, "root", "", "tar of the Debian root file system of an image")
	flags.Func("program", "a Go program that is in it; can be given several times", func(file string) error {
		spec.Programs = append(spec.Programs, file)
		return nil
	})
	flags.StringVar(&output, "o", "", "file to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if spec.Name == "" || output == "" {
		return errors.New("--name and -o are needed")
	}
	content, err := sbom.Of(spec)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	return os.WriteFile(output, content, 0o644) //nolint:gosec // G306: it is published
}
