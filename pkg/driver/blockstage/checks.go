package blockstage

import (
	"errors"
	"os"
	"os/exec"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
)

// checks lets a few checks of file systems run at a time, and counts how they ended, also those for which no call waits any
// more.
type checks struct {
	turns longwork.Turns
	total *prometheus.CounterVec
}

func newChecks(reg prometheus.Registerer) checks {
	c := checks{longwork.NewTurns(checksAtOnce), prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "csi_fsck_total",
		Help: "Checks of file systems that ended, by tool and outcome: clean, repaired, faulty, ended with the process, or unknown.",
	}, []string{"tool", "outcome"})}
	// A counter that appears with its first event has never grown, as far as an alert can see.
	for _, t := range filesystem.All {
		for _, tool := range t.Check("") {
			for _, name := range outcomes {
				if tool.Checks {
					c.total.WithLabelValues(tool.Name, name)
				}
			}
		}
	}
	if reg != nil {
		reg.MustRegister(c.total)
	}
	return c
}

// run runs a tool, when it is proven that the device is still the one that was judged, and counts it if it checks. What looks
// at a whole file system waits for its turn before. Most checks only see that there is nothing to do: those wait for nobody.
func (c checks) run(task *longwork.Task, d device.Device, t filesystem.Tool, prove func() error) error {
	if t.Checks && !quick(d, t) {
		_, done, err := c.turns.Take(task, "check the file system on "+d.Path)
		if err != nil {
			return err
		}
		defer done()
	}
	if err := prove(); err != nil {
		return err
	}
	if !t.Checks {
		return t.Run(task, d)
	}
	repaired := false
	t.Ended = func(code int) { repaired = code != 0 }
	err := t.Run(task, d)
	c.total.WithLabelValues(t.Name, outcome(repaired, err)).Inc()
	return err
}

// quick reports whether a check will be over at once. Of what cannot be read nobody knows that.
func quick(d device.Device, t filesystem.Tool) bool {
	if t.Quick == nil {
		return false
	}
	file, err := device.Open(d, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer file.Close() //nolint:errcheck // only read from
	return t.Quick(file)
}

// outcomes are what outcome can return.
var outcomes = []string{"clean", "repaired", "faulty", "ended", "unknown"}

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
