package lb

import (
	"flag"
	"fmt"
	"io"
	"os"
	"testing"

	"k8s.io/klog/v2"
)

var logFlag = flag.Bool("soak.v", false, "show the controller's log")

func TestMain(m *testing.M) {
	flag.Parse()
	if !*logFlag {
		klog.LogToStderr(false)
		klog.SetOutput(io.Discard)
	}
	code := m.Run()
	if err := found.print(); err != nil {
		fmt.Fprintln(os.Stderr, "lb:", err)
		code = 1
	}
	os.Exit(code)
}
