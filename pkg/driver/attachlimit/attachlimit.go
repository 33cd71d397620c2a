// Package attachlimit decides how many volumes the scheduler may bring to a node: what the administrator says, less the
// disks that are there already and are not the cluster's, and no more than the platform has proven to attach.
package attachlimit

import (
	"fmt"
	"strconv"
	"time"
)

const (
	// Label is the label of a Node that takes precedence over the flag.
	Label = "block.csi.vultr.com/max-volumes"
	// Default is what the official driver was lowered to after a support ticket.
	Default = 11
	// Most is what the platform documents.
	Most = 16
	// proofFor is how long a refusal of the platform counts. It ends by itself, because what was seen then may have been
	// too little: the price is one more refusal.
	proofFor = 24 * time.Hour
)

// Proof is what a refusal of the platform has shown.
type Proof struct {
	// Volumes is how many volumes the instance was seen with when the platform refused one more, 0 without a proof. It may
	// be too low, as reads lag behind.
	Volumes int64
	At      time.Time
}

// Facts are what the limit follows from.
type Facts struct {
	// Flag is what the process is told.
	Flag int64
	// Label is the value of the node's label, "" without one.
	Label string
	Proof Proof
	// Disks are what is on the machine.
	Disks Disks
}

// Decide returns how many volumes of the driver the node can have: at least 1, because 0 means to the orchestrator that
// there is no limit. A fault says what of the facts was left aside.
func Decide(f Facts, now time.Time) (limit int64, fault error) {
	limit = f.Flag
	if f.Label != "" {
		n, err := strconv.ParseInt(f.Label, 10, 64)
		if err != nil || n < 1 || n > Most {
			fault = fmt.Errorf("the node's label %s is %q, it must be a number from 1 to %d: %d is taken", Label, f.Label, Most, limit)
		} else {
			limit = n
		}
	}
	// The clocks of two machines are compared, so one that is ahead by as much is none.
	if age := now.Sub(f.Proof.At); f.Proof.Volumes > 0 && age < proofFor && age > -proofFor {
		limit = min(limit, max(f.Proof.Volumes, int64(f.Disks.Most)))
	}
	return max(1, limit-int64(f.Disks.Foreign)), fault
}
