package servicelb_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// Where rights to Secrets are given by namespace, one that was forgotten is told in words, and works when it is given.
func TestMissingRightIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		forbidden := w.refuse("get", "secrets", apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "tls", errors.New("no RBAC policy matched")))
		forbidden.Store(true)
		w.start()
		s := w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		w.wantEvent("reading the TLS Secret shop/tls: this controller has no right to; an administrator has to bind a Role that gives it in this namespace")
		if n := w.posts(); n != 0 {
			t.Errorf("%d load balancers were asked for without the certificate", n)
		}
		forbidden.Store(false)
		if lb := w.settled(s); !lb.HasSSL {
			t.Errorf("%+v", lb)
		}
	})
}
