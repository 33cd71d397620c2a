package recovery_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/singleflight"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestDestroyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, pod("db-0"), attachment("va-1", "a"), attachment("va-2", "b"))
		after(time.Minute)
		if s.cloud.looks != 0 {
			t.Errorf("%d looks at instances of nodes that are ready", s.cloud.looks)
		}
		delete(s.cloud.instances, idA)
		after(50 * time.Second)
		if s.marked("a") {
			t.Fatal("marked while the node is ready")
		}
		s.ready("a", v1.ConditionUnknown)
		after(2 * time.Second)
		if s.marked("a") || s.departed("a") {
			t.Error("one look proves nothing")
		}
		after(16 * time.Second)
		if s.marked("a") || s.departed("a") {
			t.Error("two looks prove nothing")
		}
		after(4 * time.Second)
		if !s.marked("a") || s.marked("b") {
			t.Errorf("marked: a %v, b %v", s.marked("a"), s.marked("b"))
		}
		taints := s.node("a").Spec.Taints
		if mark := taints[len(taints)-1]; len(taints) != 2 || mark.Effect != v1.TaintEffectNoExecute || mark.Key != "node.kubernetes.io/out-of-service" || mark.Value != "instance-deleted" || mark.TimeAdded == nil {
			t.Errorf("taints %+v", taints)
		}
		if s.departed("a") {
			t.Error("the node must stay while its pod is there")
		}
		s.remove("pods", pod("db-0"))
		if s.departed("a") {
			t.Error("the node must stay while its disk is attached")
		}
		s.remove("volumeattachments", attachment("va-1", "a"))
		if !s.departed("a") {
			t.Error("nothing speaks against deleting the node")
		}
		if s.departed("b") {
			t.Error("the other node is well")
		}
		s.wantEvents("InstanceDeleted")
	})
}

func TestFoundAgain(t *testing.T) {
	gone := func(t *testing.T) *scene {
		s := newScene(t)
		s.cloud.set(func() { delete(s.cloud.instances, idA) })
		s.ready("a", v1.ConditionUnknown)
		after(3 * time.Second)
		return s
	}
	t.Run("between the looks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := gone(t)
			s.cloud.set(func() { s.cloud.instances[idA] = vultr.Instance{ID: idA} })
			after(40 * time.Second)
			s.cloud.set(func() { delete(s.cloud.instances, idA) })
			if s.marked("a") || s.departed("a") {
				t.Error("the first look must not count any more")
			}
		})
	})
	t.Run("after the mark", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := gone(t)
			after(proof)
			if !s.marked("a") {
				t.Fatal("not marked")
			}
			s.cloud.set(func() { s.cloud.instances[idA] = vultr.Instance{ID: idA} })
			after(40 * time.Second)
			if s.marked("a") || len(s.node("a").Spec.Taints) != 1 {
				t.Errorf("taints %+v", s.node("a").Spec.Taints)
			}
			s.wantEvents("InstanceDeleted", "InstanceFound")
		})
	})
	t.Run("the node reports again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := gone(t)
			after(proof)
			s.ready("a", v1.ConditionTrue)
			after(2 * time.Second)
			if s.marked("a") {
				t.Error("a machine that reports is not gone")
			}
		})
	})
}

// A machine that was replaced under its old name must not get the mark of the dead one.
func TestReplacedUnderTheSameName(t *testing.T) {
	for name, change := range map[string]func(*v1.Node){
		"new Node":     func(n *v1.Node) { n.UID = "uid-new" },
		"new instance": func(n *v1.Node) { n.Spec.ProviderID = "vultr://" + idB },
		"ready":        func(n *v1.Node) { n.Status.Conditions[0].Status = v1.ConditionTrue },
		"reporting":    func(n *v1.Node) { n.Status.Conditions[0].Status = v1.ConditionFalse },
		"taint of an administrator": func(n *v1.Node) {
			n.Spec.Taints = append(n.Spec.Taints, v1.Taint{Key: v1.TaintNodeOutOfService, Value: "theirs", Effect: v1.TaintEffectNoExecute})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := bareScene(t)
				delete(s.cloud.instances, idA)
				s.ready("a", v1.ConditionUnknown)
				stale := s.node("a")
				// The informer shows the old Node for ever; the API server knows the new one.
				prober := s.newProber(s.cloud)
				controller := recovery.NewController(s.client, fixed{stale, s.node("b")}, func() bool { return true }, prober, s.recorder)
				fresh := stale.DeepCopy()
				change(fresh)
				if err := s.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("nodes"), fresh, ""); err != nil {
					t.Fatal(err)
				}
				s.cloud.set(func() { s.cloud.looks = 0 })
				go controller.Run(klog.NewContext(t.Context(), logr.Discard()))
				after(proof + 10*time.Second)
				if s.cloud.looks < 3 {
					t.Fatalf("only %d looks", s.cloud.looks)
				}
				if s.marked("a") {
					t.Error("marked")
				}
			})
		})
	}
}

type fixed []*v1.Node

func (f fixed) List(labels.Selector) ([]*v1.Node, error) { return f, nil }

func (f fixed) Get(string) (*v1.Node, error) { return f[0], nil }

// slowAccount takes its time for every answer.
type slowAccount struct {
	*account
	takes time.Duration
}

func (a slowAccount) Instance(ctx context.Context, id string) (vultr.Instance, error) {
	select {
	case <-time.After(a.takes):
		return a.account.Instance(ctx, id)
	case <-ctx.Done():
		return vultr.Instance{}, ctx.Err()
	}
}

// sharingAccount answers everybody who asks while a list is being read with that list or its failure, as the client does.
type sharingAccount struct {
	*account
	reads singleflight.Group
}

func (a *sharingAccount) Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error) {
	list, err, _ := a.reads.Do("", func() (any, error) {
		time.Sleep(50 * time.Millisecond) // of the fake clock: it moves on when everybody waits
		return a.account.Instances(ctx, maxAge)
	})
	return list.(vultr.List[vultr.Instance]), err
}

// Nodes don't wait for one another's answers.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bareScene(t)
		names, ids := s.crowd(40)
		gone := 12
		prober := s.newProber(slowAccount{s.cloud, 15 * time.Second})
		controller := recovery.NewController(s.client, lister{s.client}, func() bool { return true }, prober, s.recorder)
		go controller.Run(klog.NewContext(t.Context(), logr.Discard()))
		s.destroy(names[:gone], ids[:gone])
		after(70 * time.Second) // three looks and the pauses between them, for all
		if n := s.marks(names); n != gone {
			t.Errorf("%d of %d destroyed nodes are marked", n, gone)
		}
	})
}
