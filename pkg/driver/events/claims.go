package events

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

// claimsFor is how long a list of PersistentVolumes tells whose a volume is: many warnings at once need one list.
const claimsFor = time.Minute

// claims knows the claims of volumes by the PersistentVolumes. It needs the right to list them.
type claims struct {
	kube   *kubeapi.Client
	driver string

	mu       sync.Mutex
	byVolume map[string]Claim
	listed   time.Time
}

// of returns the claim of a volume. That it has none is a refusal.
func (c *claims) of(ctx context.Context, handle string) (Claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byVolume == nil || time.Since(c.listed) >= claimsFor {
		all, began := map[string]Claim{}, time.Now()
		err := eachVolume(ctx, c.kube, c.driver, func(handle string, claim Claim) {
			if claim.Known() {
				all[strings.ToLower(handle)] = claim
			}
		})
		if err != nil {
			return Claim{}, err
		}
		c.byVolume, c.listed = all, began
	}
	claim, ok := c.byVolume[strings.ToLower(handle)]
	if !ok {
		return Claim{}, fmt.Errorf("%w: no claim has it", errRefused)
	}
	return claim, nil
}
