// Command rootfs prints the path of a tar with a root file system made of
// Debian packages. It is made once and kept under the user's cache directory:
//
//	go run ./rootfs e2fsprogs xfsprogs util-linux
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/tools/internal/debian"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rootfs:", err)
		os.Exit(1)
	}
}

// run finds the tar in the cache or makes it, and prints its path.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("rootfs", flag.ContinueOnError)
	cache := flags.String("cache", "", "directory to keep the tar in; default: under the user's cache directory")
	arch := flags.String("arch", runtime.GOARCH, "Debian's name of the architecture")
	variant := flags.String("variant", "", "mmdebstrap's variant; default: extract, which runs no maintainer scripts")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("no package named")
	}
	codename, err := debian.Codename("/etc/os-release")
	if err != nil {
		return err
	}
	sources, err := debian.Sources("/etc/apt", codename)
	if err != nil {
		return err
	}
	if *cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		*cache = filepath.Join(base, "cloud-provider-vultr")
	}
	root := debian.RootFS{Codename: codename, Architecture: *arch, Packages: flags.Args(), Variant: *variant, Sources: sources}
	path, err := root.CachePath(*cache)
	if err != nil {
		return err
	}
	if err := ensure(ctx, root, path); err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

// ensure makes the tar if it is not there yet.
func ensure(ctx context.Context, root debian.RootFS, path string) error {
	_, err := os.Stat(path)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fmt.Fprintf(os.Stderr, "rootfs: unpacking %v of Debian %s, about 10 s, a minute with maintainer scripts\n", root.Packages, root.Codename)
	start := time.Now()
	if err := root.Build(ctx, path, os.Stderr); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "rootfs: done in %s\n", time.Since(start).Round(time.Second))
	return nil
}
