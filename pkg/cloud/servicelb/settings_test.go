package servicelb_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(_ *simtest.Options, c *servicelb.Config) {
			var err error
			if c.Defaults, err = settings.ParseDefaults(map[string]string{"timeout": "300"}); err != nil {
				t.Fatal(err)
			}
		})
		plain, own := w.service("plain"), w.service("own", with(settings.Timeout, "30"))
		if lb := w.settled(plain); lb.Timeout != 300 {
			t.Errorf("timeout %d", lb.Timeout)
		}
		if lb := w.settled(own); lb.Timeout != 30 {
			t.Errorf("timeout %d", lb.Timeout)
		}
		w.delete(plain)
	})
}

// While the key is refused one question at a time is asked for all, and its replacement is noticed at once.
func TestRefusedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var all []*v1.Service
		for i := range 20 {
			all = append(all, w.service(fmt.Sprintf("s%d", i)))
		}
		for _, s := range all {
			w.settled(s)
		}
		w.later(time.Minute)
		w.blind = true
		w.cloud.Sim.SetKeys([]string{"ANOTHERKEY0123456789ABCDEFGHIJKLMNOP"})
		for _, s := range all {
			w.edit(s, with(settings.Timeout, "30"))
		}
		fresh := w.service("fresh")
		w.later(10 * time.Minute) // for the pauses to grow, if they do
		before := w.calls()
		w.later(10 * time.Minute)
		if n := w.calls() - before; n > 75 || n < 10 {
			t.Errorf("%d calls in ten minutes", n)
		}
		w.cloud.Sim.SetKeys([]string{w.cloud.Key})
		w.blind = false
		w.within(15*time.Second, "the new Service's load balancer is being made", func() bool { return w.entry(fresh).ID != "" })
		for _, s := range all {
			w.shows(w.entry(s).ID, "has the new timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
		}
	})
}
