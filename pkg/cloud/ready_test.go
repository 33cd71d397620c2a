package cloud_test

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// Nothing is made before this process leads, and it is ready when it knows the Nodes.
func TestProviderIsReady(t *testing.T) {
	client := fake.NewSimpleClientset()
	p := cloud.NewProvider(newClient(t, simtest.Start(t, simtest.Options{})), cloud.Options{})
	leads := make(chan struct{})
	asked := make(chan struct{})
	p.Await(func() { close(asked); <-leads })
	initialised := make(chan struct{})
	go func() {
		p.Initialize(builder{client}, t.Context().Done())
		close(initialised)
	}()
	<-asked
	select {
	case <-initialised:
		t.Error("it was initialised before it leads")
	default:
	}
	if err := p.Ready(); !errors.Is(err, cloud.ErrNotStarted) {
		t.Errorf("got %v", err)
	}
	close(leads)
	<-initialised
	factory := informers.NewSharedInformerFactory(client, 0)
	p.SetInformers(factory)
	if err := p.Ready(); err == nil || errors.Is(err, cloud.ErrNotStarted) {
		t.Errorf("ready before the informers were started: %v", err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	if err := p.Ready(); err != nil {
		t.Error(err)
	}
}

func TestHealthAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"": true, "127.0.0.1:10261": true, "[::1]:10261": true, "0.0.0.0:1": true,
		"localhost:10261": false, ":10261": false, "10261": false, "127.0.0.1": false, "127.0.0.1:70000": false, "::1:10261": false,
	} {
		o := cloud.NewOptions()
		o.APIURL, o.HealthAddress = "", address
		err := o.Validate()
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "--vultr-health-address") {
			t.Errorf("%q: got %v", address, err)
		}
	}
}
