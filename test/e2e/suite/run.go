package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
)

// Run says what is run, and where.
type Run struct {
	// Suite has the programs.
	Suite cache.Suite
	// Dir has the definitions and the list of skips.
	Dir string
	// Inside runs a program in the cluster's network, with a KUBECONFIG; it sees Dir and Output as this program does.
	Inside func(ctx context.Context, argv ...string) (string, error)
	// Kubectl is a program.
	Kubectl string
	// Output takes logs, reports and lists.
	Output string
	// Conditions are the machine's.
	Conditions Conditions
	// Focus is a regular expression of the names of tests to run, of what follows there on that which makes them the
	// definition's; all when empty.
	Focus string
	// Parallel is how many tests run side by side; 0 for as many as the definition says.
	Parallel int
	// Out takes what is being done.
	Out io.Writer
}

// timeout bounds the tests of one definition.
const timeout = 6 * time.Hour

// Definition runs the tests of one definition. Tests that fail are not an error of it but in its result.
func (r *Run) Definition(ctx context.Context, name string) (*Result, error) {
	d, err := readDefinition(r.Dir, name, r.Suite.Source)
	if err != nil {
		return nil, err
	}
	all, err := readSkips(r.Dir)
	if err != nil {
		return nil, err
	}
	skips, err := skipsOf(all, name, r.Conditions)
	if err != nil {
		return nil, err
	}
	report := filepath.Join(r.Output, name+".json")
	if err := os.Remove(report); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := r.ginkgo(ctx, d, filepath.Base(report), skips); err != nil {
		return nil, err
	}
	result, err := readResult(report, d, skips, r.Focus == "")
	if err != nil {
		return result, fmt.Errorf("%s: %w (see %s)", name, err, filepath.Join(r.Output, name+".log"))
	}
	list, err := os.Create(filepath.Join(r.Output, name+".txt"))
	if err != nil {
		return result, err
	}
	return result, errors.Join(result.List(list), list.Close())
}

// arguments are those of the runner.
func (r *Run) arguments(d *definition, report string, skips []Skip) []string {
	focus := d.focus
	if r.Focus != "" {
		focus += ".*(" + r.Focus + ")"
	}
	args := []string{
		"--procs=" + strconv.Itoa(cmp.Or(r.Parallel, d.parallel, parallel)), "--timeout=" + timeout.String(), "--no-color", "--focus=" + focus,
		"--output-dir=" + r.Output, "--json-report=" + report,
	}
	for _, s := range skips {
		args = append(args, "--skip="+s.Tests)
	}
	args = append(args, r.Suite.Program, "--", "-kubectl-path="+r.Kubectl, "-repo-root="+r.Dir, "-e2e-output-dir="+r.Output)
	return append(args, d.arguments...)
}

// ginkgo runs the tests. It returns nil although some failed: the report has them.
func (r *Run) ginkgo(ctx context.Context, d *definition, report string, skips []Skip) error {
	log := filepath.Join(r.Output, d.name+".log")
	into := []string{"sh", "-c", `exec "$@" >"$0" 2>&1`, log, r.Suite.Runner}
	told, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		r.tell(d.name, log, ended)
	}()
	_, err := r.Inside(ctx, append(into, r.arguments(d, report, skips)...)...)
	close(ended)
	<-told
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, statErr := os.Stat(filepath.Join(r.Output, report)); statErr != nil {
		return fmt.Errorf("%s: the suite ended without a report: %w (see %s)", d.name, err, log)
	}
	return nil
}

// passedMark is what the runner prints for a test that passed.
const passedMark = "•"

// tell says every few minutes how far it is.
func (r *Run) tell(name, log string, ended <-chan struct{}) {
	ticker := time.NewTicker(5 * time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-ticker.C:
		}
		if content, err := os.ReadFile(filepath.Clean(log)); err == nil {
			_, _ = fmt.Fprintf(r.Out, "%s: %d tests have run\n", name, strings.Count(string(content), passedMark))
		}
	}
}
