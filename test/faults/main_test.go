// Package faults shows that no fault between two steps of the driver loses data or leaves anything behind.
//
// The driver is the built program, as a controller and a node process, on a simulated cloud with real disks. First an RPC
// is carried out undisturbed, and its API calls and its system calls that change the machine are counted. Then it is
// carried out once for each of these points with a fault there: the process is killed, the API's answer or the request is
// lost, the platform does it twice, a system call fails. The orchestrator tries again, or gives up and has the opposite
// done. In the end there is one volume, its data is what was written, and nothing is left. What is so is read from the
// platform and the kernel, never from the driver's answers.
//
// TestEveryStep prints how many points there are and how many were tried: a few of each operation, elsewhere in each, so that
// every kind of fault comes up; or all with FAULTS=all. A single one is run by its name, which ends with its number:
//
//	FAULTS=all go test ./test/faults -run 'TestEveryStep/attach/killed_after_the_work/2$'
package faults

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/csiprocess"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/syscut"
)

// garbage is the GOGC of all processes: they are small, there are hundreds, and hardly one lives for more than seconds.
const garbage = 400

// driverBinary is the driver that TestMain built, or that FAULTS_DRIVER names.
var driverBinary string

func TestMain(m *testing.M) {
	syscut.Main()
	flag.Parse()
	testns.Enter()
	debug.SetGCPercent(garbage)
	code, err := withDriver(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		code = 1
	}
	os.Exit(code)
}

// withDriver builds the driver for the tests, and prints what they found.
func withDriver(m *testing.M) (int, error) {
	if testing.Short() || os.Geteuid() != 0 {
		return m.Run(), nil
	}
	if driverBinary = os.Getenv("FAULTS_DRIVER"); driverBinary != "" {
		code := m.Run()
		return code, found.print()
	}
	// Where an earlier run has left it, it is linked only when it has changed.
	dir, err := filepath.Abs("../../bin/race/faults")
	if err != nil {
		return 0, err
	}
	if driverBinary, err = csiprocess.Build(dir, "-race"); err != nil {
		return 0, err
	}
	code := m.Run()
	return code, found.print()
}

// need skips a test where there is no driver.
func need(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds the driver, which short runs do without")
	}
	testns.NeedDisks(t)
}
