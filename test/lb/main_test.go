package lb

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
)

var logFlag = flag.Bool("soak.v", false, "show the controller's log")

func TestMain(m *testing.M) {
	flag.Parse()
	if !*logFlag {
		klog.SetLogger(logr.Discard())
	}
	// The library has whoever meets errors wait, by one clock for the whole program: in the fake time of a test the last error
	// may lie in another test's future, or in the real time of the program's start, and the wait would take years.
	utilruntime.ErrorHandlers = utilruntime.ErrorHandlers[:1] //nolint:reassign // there is no other way
	code := m.Run()
	if err := found.print(); err != nil {
		fmt.Fprintln(os.Stderr, "lb:", err)
		code = 1
	}
	os.Exit(code)
}
