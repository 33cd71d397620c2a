package blockstage

import (
	"errors"
	"os/exec"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
)

// checks counts how checks of file systems ended, also those for which no call waits any more.
type checks struct{ total *prometheus.CounterVec }

func newChecks(reg prometheus.Registerer) checks {
	c := checks{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "csi_fsck_total",
		Help: "Checks of file systems that ended, by tool and outcome: clean, repaired, faulty, ended with the process, or unknown.",
	}, []string{"tool", "outcome"})}
	if reg != nil {
		reg.MustRegister(c.total)
	}
	return c
}

// run runs a tool, and counts it if it checks.
func (c checks) run(task *longwork.Task, d device.Device, t filesystem.Tool) error {
	if !t.Checks {
		return t.Run(task, d)
	}
	repaired := false
	t.Ended = func(code int) { repaired = code != 0 }
	err := t.Run(task, d)
	c.total.WithLabelValues(t.Name, outcome(repaired, err)).Inc()
	return err
}

// outcome is what a check's end says of the file system. A tool that could not have the device says nothing of it.
func outcome(repaired bool, err error) string {
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil && repaired:
		return "repaired"
	case err == nil:
		return "clean"
	case errors.Is(err, longwork.ErrEnding):
		return "ended"
	case ok && exit.Exited() && !errors.Is(err, unix.EBUSY):
		return "faulty"
	}
	return "unknown"
}
