package servicelb_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// putRules writes firewall rules into the ConfigMap "office".
func (w *world) putRules(text string) {
	w.Helper()
	rules := &v1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "office", ResourceVersion: strconv.FormatInt(time.Now().UnixNano(), 10)},
		Data:       map[string]string{"firewallRules": text},
	}
	maps := w.client.CoreV1().ConfigMaps("shop")
	_, err := maps.Update(w.Context(), rules, metav1.UpdateOptions{})
	if err != nil {
		_, err = maps.Create(w.Context(), rules, metav1.CreateOptions{})
	}
	if err != nil {
		w.Fatal(err)
	}
}

func admits(source string) func(vultr.LoadBalancer) bool {
	return func(lb vultr.LoadBalancer) bool { return len(lb.Firewall) == 1 && lb.Firewall[0].Source == source }
}

// The rules of a ConfigMap reach the load balancer in a moment, also when they change. One that is missing or malformed makes
// no load balancer, and opens none.
func TestFirewallConfigMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.FirewallRulesCM, "office"))
		w.wantEvent(`ConfigMap "office": there is none of this name in namespace shop`)
		w.putRules("everybody,80")
		w.wantEvent(`"everybody,80" is not`)
		if n := w.posts(); n != 0 {
			t.Fatalf("%d load balancers were made without rules", n)
		}
		w.putRules("10.0.0.0/8,80")
		lb := w.settled(s)
		if !admits("10.0.0.0/8")(lb) {
			t.Errorf("it was made with %+v", lb.Firewall)
		}
		w.later(time.Minute)
		before := w.writes()
		w.start()
		w.later(20 * time.Minute)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes, nothing has changed", n)
		}

		w.putRules("192.0.2.0/24,80\n")
		w.within(2*time.Second, "the new rules are there", func() bool { return admits("192.0.2.0/24")(w.truth(lb.ID)) })
		w.later(10 * time.Minute)
		if events := w.events(); has(events, "Warning") {
			t.Errorf("events %q", events)
		}

		w.putRules("")
		w.wantEvent("key firewallRules has no rule")
		w.edit(s, with(settings.Timeout, "30"))
		w.later(10 * time.Minute)
		if err := w.client.CoreV1().ConfigMaps("shop").Delete(t.Context(), "office", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.wantEvent("there is none of this name")
		w.later(20 * time.Minute)
		w.start()
		w.later(20 * time.Minute)
		if now := w.truth(lb.ID); !admits("192.0.2.0/24")(now) {
			t.Errorf("without its ConfigMap it has the rules %+v", now.Firewall)
		}

		w.putRules("198.51.100.0/24,80")
		w.shows(lb.ID, "has the rules of the ConfigMap that is back", admits("198.51.100.0/24"))
		w.edit(s, without(settings.FirewallRulesCM))
		w.shows(lb.ID, "admits everybody", func(l vultr.LoadBalancer) bool { return len(l.Firewall) == 0 })
		before = w.writes()
		w.putRules("10.0.0.0/8,80")
		w.later(time.Minute)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes for a ConfigMap that nobody names", n)
		}
	})
}
