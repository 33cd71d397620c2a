// Command notices writes the licences of what is linked into Go programs, to be passed on with them, and fails if nobody has agreed to
// one. It runs in the programs' module, for the architecture of GOARCH:
//
//	notices -o NOTICES.txt ./cmd/app
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/tools/internal/notices"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

// run reads the flags and writes the text.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("notices", flag.ContinueOnError)
	output := flags.String("o", "", "file to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *output == "" || flags.NArg() == 0 {
		return errors.New("-o and the packages of programs are needed")
	}
	text, err := notices.Of(ctx, flags.Args())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(*output), 0o755); err != nil {
		return err
	}
	return os.WriteFile(*output, []byte(text), 0o644)
}
