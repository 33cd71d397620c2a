package servicelb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
		return nil, ownFault(service, &unreadError{unreadable(fmt.Sprintf("reading the TLS Secret %s/%s", service.Namespace, name), err)})
	}
	certificate, err := plan.ReadCertificate(secret, time.Now())
	return certificate, ownFault(service, err)
}

// unreadError is why a Secret could not be read.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return e.err.Error() }
func (e *unreadError) Unwrap() error { return e.err }

// isUnread reports whether it is not known what is in a Secret, or whether there is one. A right that is lacking is not given by itself.
func isUnread(err error) bool {
	_, unread := errors.AsType[*unreadError](err)
	return unread && !apierrors.IsForbidden(err)
}

// sealing is what a load balancer is to be with regard to its certificate.
type sealing struct {
	want plan.Desired
	diff plan.Change
	// certificate is the one that its certifier names, nil if it names none or that cannot be used.
	certificate *plan.Certificate
	// remove is set if the one that it has is to go.
	remove bool
	// waits says why it is not as asked for, nil if it is.
	waits error
	// idle is set while nothing but the backends can be changed.
	idle bool
}

var errNoCertificate = errors.New("the load balancer was given no certificate for this Service, which names none that can be used")

// seal decides about the certificate of a load balancer, and the ports that need one. While the one that a Service names can't be used the
// old one stays, if it was sent for this Service. Another one's is nothing to serve its ports by: they wait, and the certificate goes.
// Nobody's that is known, as one from the time before the load balancer was taken over, serves on what it serves.
func (c *Controller) seal(ctx context.Context, s *scene, lb vultr.LoadBalancer, want plan.Desired) sealing {
	is := sealing{want: want}
	is.certificate, is.waits = c.certificate(ctx, s.certifier(), want.TLSSecret)
	is.diff, is.remove = plan.DiffTLS(lb, want, plan.TLS{Certificate: is.certificate, Err: is.waits, Sent: s.entry.Certificate})
	if is.waits == nil && (!want.KeepTLS || is.certificate != nil || want.AutoSSL != nil) {
		return is
	}
	none, theirs := is.waits != nil && !lb.HasSSL, s.certificateOfAnother()
	nobodys := s.entry.Certificate == "" && !none && s.shared()
	switch {
	case none && !s.shared(), theirs && isUnread(is.waits):
		is.diff, is.idle = plan.DiffBackends(lb, want), true
	case none, theirs, nobodys:
		s.unseal(lb, &is, theirs, nobodys)
	case is.waits != nil:
		is.waits = fmt.Errorf("the old certificate stays: %w", is.waits)
	}
	return is
}

// unseal leaves out what there is no certificate for. What others ask for does not wait for that.
func (s *scene) unseal(lb vultr.LoadBalancer, is *sealing, theirs, nobodys bool) {
	asked := len(is.want.Rules)
	if is.remove = theirs && lb.HasSSL; is.remove {
		is.want.AutoSSL, is.want.KeepTLS = nil, false
	}
	is.want = plan.WithoutHTTPS(is.want, s.asking(), lb, nobodys)
	is.diff = plan.Diff(lb, is.want)
	left := asked - len(is.want.Rules)
	switch {
	case is.waits == nil && left > 0:
		is.waits = ownFault(s.certifier(), errNoCertificate)
	case is.waits == nil:
		return
	case left == 0 && nobodys:
		is.waits = fmt.Errorf("the old certificate stays: %w", is.waits)
		return
	}
	is.waits = fmt.Errorf("the https ports wait for their certificate, and http ports that are redirected to them wait too: %w", is.waits)
}

// certificateOfAnother reports whether the load balancer was given its certificate for another Service than the one whose certificate it
// is to have now.
func (s *scene) certificateOfAnother() bool {
	return s.entry.Certificate != "" && cmp.Or(s.entry.Certifier, s.service.UID) != s.certifier().UID
}

// certifiedFor is what the record says of whose the certificate is.
func (s *scene) certifiedFor() types.UID {
	if uid := s.certifier().UID; uid != s.service.UID {
		return uid
	}
	return ""
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
