package servicelb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// issuedMark begins what the ledger says of a certificate that the platform issues for a Service. No fingerprint has it.
const issuedMark = "auto:"

// issuedFor is what the ledger says of the certificate that the platform issues for a domain.
func issuedFor(a vultr.AutoSSL) string {
	return issuedMark + strings.TrimPrefix(a.Sub+"."+a.Zone, ".")
}

// endAutoSSL has the platform renew a certificate no longer that it issued for the Service, if that does not ask for it any
// more. The certificate itself stays until another one takes its place, or no rule needs one.
func (c *Controller) endAutoSSL(ctx context.Context, s *scene, lb vultr.LoadBalancer, want plan.Desired) error {
	ours := strings.HasPrefix(s.entry.Certificate, issuedMark)
	if !ours || want.AutoSSL != nil || want.KeepTLS || lb.AutoSSL == (vultr.AutoSSL{}) {
		return nil
	}
	err := c.API.DeleteAutoSSL(ctx, lb.ID)
	switch {
	case vultr.IsConflict(err):
		return waitFor(s.memory.busy(busyWait), "load balancer %s is busy: %v", lb.ID, err)
	case err != nil && !vultr.IsNotFound(err):
		return fmt.Errorf("ending the automatic certificate of load balancer %s: %w", lb.ID, err)
	}
	s.memory.busySince = time.Time{}
	s.memory.sent = append(s.memory.sent, change{id: lb.ID, settings: vultr.LoadBalancerSettings{AutoSSL: &vultr.AutoSSL{}}, at: time.Now()})
	return nil
}

// serves is what the ledger says of the certificate with which a load balancer was made, "" of none.
func serves(given *plan.Certificate, issued *vultr.AutoSSL, id string) string {
	switch {
	case given != nil:
		return given.Fingerprint(id)
	case issued != nil:
		return issuedFor(*issued)
	}
	return ""
}
