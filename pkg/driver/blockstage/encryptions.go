package blockstage

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
)

// encryptions counts what was done to encrypted disks, and how that ended.
type encryptions struct{ total *prometheus.CounterVec }

func newEncryptions(reg prometheus.Registerer) encryptions {
	e := encryptions{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "csi_luks_total",
		Help: "Runs of cryptsetup on encrypted disks, by its command and outcome: done, passphrase (it does not open the disk), busy, " +
			"memory (there is too little), ended with the process or the call, or failed.",
	}, []string{"command", "outcome"})}
	if reg != nil {
		reg.MustRegister(e.total)
	}
	return e
}

func (e encryptions) ended(command string, err error) {
	e.total.WithLabelValues(command, encryptionOutcome(err)).Inc()
}

func encryptionOutcome(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, longwork.ErrEnding), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "ended"
	case errors.Is(err, luks.ErrPassphrase):
		return "passphrase"
	case errors.Is(err, luks.ErrBusy):
		return "busy"
	case errors.Is(err, luks.ErrMemory):
		return "memory"
	}
	return "failed"
}
