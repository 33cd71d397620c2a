package lb

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
)

var logFlag = flag.Bool("soak.v", false, "show the controller's log")

func TestMain(m *testing.M) {
	flag.Parse()
	if !*logFlag {
		klog.SetLogger(logr.Discard())
	}
	testkube.KeepErrorsOutOfTime()
	code := m.Run()
	if err := found.print(); err != nil {
		fmt.Fprintln(os.Stderr, "lb:", err)
		code = 1
	}
	os.Exit(code)
}
