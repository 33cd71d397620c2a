package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The ledger that is deleted, or emptied, while the controller runs is written anew: after a restart nothing is forgotten.
func TestLedgerIsLost(t *testing.T) {
	losses := map[string]func(w *world, s *v1.Service) error{
		"deleted": func(w *world, s *v1.Service) error {
			return w.client.CoreV1().ConfigMaps(ledger.Namespace).Delete(w.Context(), ledger.Name(s.UID), metav1.DeleteOptions{})
		},
		"emptied": func(w *world, s *v1.Service) error {
			_, err := w.client.CoreV1().ConfigMaps(ledger.Namespace).Update(w.Context(),
				&v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ledger.Namespace, Name: ledger.Name(s.UID)}}, metav1.UpdateOptions{})
			return err
		},
		"made unreadable": func(w *world, s *v1.Service) error {
			cm, err := w.client.CoreV1().ConfigMaps(ledger.Namespace).Get(w.Context(), ledger.Name(s.UID), metav1.GetOptions{})
			if err != nil {
				return err
			}
			cm.Data[string(s.UID)] = "{"
			_, err = w.client.CoreV1().ConfigMaps(ledger.Namespace).Update(w.Context(), cm, metav1.UpdateOptions{})
			return err
		},
	}
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := w.service("web", with(settings.Label, "www"))
				lb := w.settled(s)
				w.shows(lb.ID, "has its name", func(l vultr.LoadBalancer) bool { return l.Label == "www" })
				w.later(time.Minute)
				if err := lose(w, s); err != nil {
					t.Fatal(err)
				}
				w.later(10 * time.Minute)
				w.start()
				w.later(time.Minute)
				w.delete(s)
				w.none()
			})
		})
	}
}

// What nobody changed is not written again.
func TestLedgerIsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settled(w.service("web"))
		w.later(10 * time.Minute)
		w.start()
		w.later(time.Minute)
		w.client.ClearActions()
		w.later(time.Hour)
		for _, action := range w.client.Actions() {
			if verb := action.GetVerb(); verb != "get" && verb != "list" {
				t.Errorf("%s %s in a quiet hour", action.GetVerb(), action.GetResource().Resource)
			}
		}
	})
}

// A load balancer whose making nobody answered is told, too, when the Service goes and it is to be left as it is.
func TestLeftAsItIsAfterALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lagging(simulator.ReadLags{"all": time.Minute}))
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultResetAfter, Times: 1})
		s := w.service("web")
		w.eventually("one is made", func() bool { return len(w.all()) == 1 })
		w.later(time.Second)
		w.edit(s, with(settings.Create, "false"))
		w.deleting(s)
		w.wantEvent("Load balancer " + w.only().ID + " is left as it is")
		w.eventually("the finalizer goes", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(s)) })
	})
}

// The load balancer of an attempt whose answer nobody got is an orphan, too, when its Service vanishes.
func TestOrphanOfALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultResetAfter, Times: 1})
		s := w.service("web")
		w.eventually("one is made", func() bool { return len(w.all()) == 1 })
		if err := w.client.CoreV1().Services(s.Namespace).Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.wantEvent("LoadBalancerOrphaned")
	})
}

// A process that is killed while its request hangs leaves one that may still be done: the next waits from its end, not from its beginning.
func TestKilledDuringASlowRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, lagging(simulator.ReadLags{"all": 2 * time.Minute}))
		hold := w.cloud.Hold("create_load_balancer", simulator.FaultHoldBefore)
		l := &life{API: w.newClient(w.cloud.Key)}
		l.react(w)
		w.startWith(l)
		s := w.service("web")
		w.later(50 * time.Second)
		l.dead.Store(true)
		hold.Release()
		w.later(time.Second)
		l.dead.Store(false)
		w.start()
		w.settled(s)
		w.later(10 * time.Minute)
		w.serving(s)
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests to make one", n)
		}
	})
}

// What is no entry, or cannot be read, stops nobody else: not after a restart either.
func TestStrangeKeysInTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s, other := w.service("web"), w.service("other")
		lb, broken := w.settled(s), w.settled(other)
		w.later(10 * time.Minute)
		for _, of := range []*v1.Service{s, other} {
			cm, err := w.client.CoreV1().ConfigMaps(ledger.Namespace).Get(t.Context(), ledger.Name(of.UID), metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			cm.Data["note"] = "checked by Bob"
			if of == other {
				cm.Data[string(of.UID)] = "{"
			}
			if _, err := w.client.CoreV1().ConfigMaps(ledger.Namespace).Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		w.events()
		w.start()
		w.editNode("node-1", ready(false))
		w.within(time.Minute, "the other's node is out", func() bool { return len(w.truth(lb.ID).Instances) == 1 })
		w.wantEvent("mend the entry")
		if n := len(w.truth(broken.ID).Instances); n != 2 || len(w.all()) != 2 {
			t.Errorf("the one whose entry cannot be read has %d backends, there are %d", n, len(w.all()))
		}
	})
}
