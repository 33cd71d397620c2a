// Package sanity runs csi-sanity against the real driver: the built binary as a controller and as a node process,
// each on a socket of its own, on a simulated cloud with real disks.
package sanity

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/csiprocess"
)

var update = flag.Bool("update", false, "write the golden files of skipped specs again")

// Environment of the processes that run one suite each; ginkgo can run only one in a process.
const (
	envAccess = "SANITY_ACCESS_TYPE" // one of accesses; set in such a process only
	envBinary = "SANITY_BINARY"      // the driver
	envReport = "SANITY_REPORT"      // where to write what became of the specs
)

// driverBinary is the driver that TestMain built.
var driverBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(envAccess) != "" {
		testns.Enter()
		os.Exit(m.Run())
	}
	code, err := withDriver(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sanity:", err)
		code = 1
	}
	os.Exit(code)
}

// withDriver builds the driver for the tests.
func withDriver(m *testing.M) (int, error) {
	if testing.Short() || os.Geteuid() != 0 {
		return m.Run(), nil
	}
	// Where an earlier run has left it, it is linked only when it has changed.
	dir, err := filepath.Abs("../../bin/race/sanity")
	if err != nil {
		return 0, err
	}
	if driverBinary, err = csiprocess.Build(dir, "-race"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}
