package servicelb

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// certificate reads and checks the TLS Secret of a Service; nil without one. It is read from the API server when it is
// needed: no private key is kept here.
func (c *Controller) certificate(ctx context.Context, service *v1.Service, name string) (*plan.Certificate, error) {
	if name == "" {
		return nil, nil
	}
	secret, err := c.Client.CoreV1().Secrets(service.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, ownFault(service, fmt.Errorf("annotation %s: there is no Secret %q in namespace %s", settings.SSL, name, service.Namespace))
	}
	if err != nil {
		return nil, ownFault(service, unreadable(fmt.Sprintf("reading the TLS Secret %s/%s", service.Namespace, name), err))
	}
	certificate, err := plan.ReadCertificate(secret, time.Now())
	return certificate, ownFault(service, err)
}

// unreadable says what became of a read, and who can give a right that it lacks.
func unreadable(what string, err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%s: this controller has no right to; an administrator has to bind a Role that gives it in this namespace (get, list, watch): %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// isBare reports whether a certificate that the ledger knows and nobody asks for any more is proven to be gone: it has not been
// shown for as long as reads may lag. The process that removed it may have been killed before it wrote that down, and what
// somebody else puts there afterwards is not this Service's.
func (s *scene) isBare(lb vultr.LoadBalancer, want plan.Desired) bool {
	if s.entry.Certificate == "" || lb.HasSSL || lb.AutoSSL != (vultr.AutoSSL{}) ||
		want.TLSSecret != "" || want.AutoSSL != nil || want.KeepTLS {
		s.memory.bareSince = time.Time{}
		return false
	}
	if s.memory.bareSince.IsZero() {
		s.memory.bareSince = time.Now()
	}
	left := visibleAfter - s.readAt.Sub(s.memory.bareSince)
	s.comeBack(left)
	return left <= 0
}
