package witness_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/witness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	idA = "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60"
	idB = "bbbbbbbb-66fd-4dfb-b839-443f2e6c0b60"
	idX = "eeeeeeee-66fd-4dfb-b839-443f2e6c0b60" // of nobody in the cluster
)

func node(name, providerID string) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.NodeSpec{ProviderID: providerID}}
}

func servers(ids ...string) []vultr.Instance {
	var list []vultr.Instance
	for _, id := range ids {
		list = append(list, vultr.Instance{ID: id})
	}
	return list
}

func TestCount(t *testing.T) {
	a, b := node("a", "vultr://"+idA), node("b", "vultr://"+idB)
	tests := map[string]struct {
		nodes []*v1.Node
		list  []vultr.Instance
		gone  []string
		want  witness.Census
		doubt bool
	}{
		"all":                        {[]*v1.Node{a, b}, servers(idA, idB, idX), nil, witness.Census{Total: 2}, false},
		"one of two":                 {[]*v1.Node{a, b}, servers(idB), nil, witness.Census{Total: 2, Missing: 1}, false},
		"strangers only":             {[]*v1.Node{a, b}, servers(idX), nil, witness.Census{Total: 2, Missing: 2}, true},
		"the gone one is no witness": {[]*v1.Node{a, b}, servers(idA), []string{idA}, witness.Census{Total: 2, Missing: 2}, true},
		"a gone one of no node":      {[]*v1.Node{b}, servers(idB), []string{idA}, witness.Census{Total: 2, Missing: 1}, false},
		"two nodes of one instance":  {[]*v1.Node{a, node("a2", "vultr://"+idA)}, servers(idA), nil, witness.Census{Total: 1}, false},
		"upper case":                 {[]*v1.Node{a}, servers(strings.ToUpper(idA)), nil, witness.Census{Total: 1}, false},
		"foreign, unset":             {[]*v1.Node{node("f", "aws:///x"), node("u", "")}, servers(idA), nil, witness.Census{}, true},
		"no nodes":                   {nil, servers(idA), nil, witness.Census{}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := witness.Count(tt.nodes, tt.list, tt.gone...)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			doubt, ok := errors.AsType[*witness.DoubtError](got.Doubt())
			if ok != tt.doubt {
				t.Errorf("doubt %v", got.Doubt())
			}
			if ok && (doubt.Missing != tt.want.Missing || doubt.Total != tt.want.Total) {
				t.Errorf("doubt %+v", doubt)
			}
		})
	}
}

// account answers with a list of before if the caller accepts its age, as the client does.
type account struct {
	before []vultr.Instance
	began  time.Time
	now    []vultr.Instance
	fails  error
	calls  int
}

func (a *account) Instances(_ context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error) {
	if time.Since(a.began) <= maxAge && maxAge > 0 {
		return vultr.List[vultr.Instance]{Items: a.before, Began: a.began}, nil
	}
	a.calls++
	return vultr.List[vultr.Instance]{Items: a.now, Began: time.Now()}, a.fails
}

func lister(t *testing.T, nodes ...*v1.Node) corelisters.NodeLister {
	t.Helper()
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	for _, n := range nodes {
		if err := indexer.Add(n); err != nil {
			t.Fatal(err)
		}
	}
	return corelisters.NewNodeLister(indexer)
}

// A list of before the question may have been read with another key.
func TestListOfBeforeIsNoWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &account{before: servers(idA), began: time.Now(), now: servers(idX)}
		w := witness.New(a, lister(t, node("a", "vultr://"+idA)))
		if err := w.Check(t.Context(), time.Now()); err == nil {
			t.Error("a list that began at that moment need not have begun after the question")
		}
		time.Sleep(time.Second) // fake time: the list is older than the question
		if _, doubtful := errors.AsType[*witness.DoubtError](w.Check(t.Context(), time.Now().Add(-time.Second/2))); !doubtful {
			t.Error("the old list was taken for a witness")
		}
		if err := w.Check(t.Context(), time.Now().Add(-2*time.Second)); err != nil {
			t.Errorf("the list is new enough: %v", err)
		}
	})
}

func TestFailedListProvesNothing(t *testing.T) {
	down := errors.New("down")
	a := &account{now: servers(idA), fails: down}
	if err := witness.New(a, lister(t, node("a", "vultr://"+idA))).Check(t.Context(), time.Now()); !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
}

func TestClusterWithoutInstancesAsksNothing(t *testing.T) {
	a := &account{now: servers(idA)}
	err := witness.New(a, lister(t, node("a", ""))).Check(t.Context(), time.Now())
	if doubt, ok := errors.AsType[*witness.DoubtError](err); !ok || doubt.Total != 0 || a.calls != 0 {
		t.Errorf("got %v after %d calls", err, a.calls)
	}
}
