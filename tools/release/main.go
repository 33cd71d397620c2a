// Command release writes what users apply, with the images by their digests, and the sums of all files of a release:
//
//	go run ./release --registry registry.example.com/vultr --manifest ccm.yaml --manifest csi.yaml -o bin/release images/*.oci.tar
//
// With --chart it does that for the defaults of a copy of the chart, and nothing else: it is packaged after that, and before the sums.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/tools/internal/release"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// sums is the file with the sums of all others.
const sums = "SHA256SUMS"

// run reads the flags and writes the files.
func run(args []string) error {
	var (
		registry, dir, chart string
		manifests            []string
	)
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&registry, "registry", "", "registry, or part of one, from which the images will be pulled; without it, by their names alone")
	flags.Func("manifest", "a rendered manifest; can be given several times", func(file string) error {
		manifests = append(manifests, file)
		return nil
	})
	flags.StringVar(&dir, "o", "", "directory of the release; what is in it already gets its sum, too")
	flags.StringVar(&chart, "chart", "", "directory of a chart whose defaults are to name the images")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if (dir == "") == (chart == "") || flags.NArg() == 0 {
		return errors.New("-o or --chart and the archives of the images are needed")
	}
	images, err := release.ReadImages(flags.Args())
	if err != nil {
		return err
	}
	if chart != "" {
		return pin(filepath.Join(chart, "values.yaml"), images, registry)
	}
	return writeAll(dir, registry, manifests, images)
}

// pin changes the images in a file of values.
func pin(file string, images []release.Image, registry string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pinned, err := release.PinValues(string(content), images, registry)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return write(file, pinned)
}

// writeAll writes the files of a release.
func writeAll(dir, registry string, manifests []string, images []release.Image) error {
	for _, file := range manifests {
		content, err := os.ReadFile(file) //nolint:gosec // G304: it is named by who calls the tool
		if err != nil {
			return err
		}
		pinned, err := release.Pin(string(content), images, registry)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := write(filepath.Join(dir, filepath.Base(file)), pinned); err != nil {
			return err
		}
	}
	values, err := release.Values(images, registry)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "images.yaml"), values); err != nil {
		return err
	}
	all, err := release.Sums(dir, sums)
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, sums), all)
}

func write(file, content string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(content), 0o644) //nolint:gosec // G306: it is published
}
