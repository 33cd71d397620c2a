package noderegion

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

const (
	driver   = "block.csi.vultr.com"
	label    = "topology.block.csi.vultr.com/region"
	csiNodes = "/apis/storage.k8s.io/v1/csinodes"
)

func instance(n int) string { return fmt.Sprintf("0c6a5f2e-7a3e-4f0e-9a43-%012d", n) }

// put makes a node of the cluster.
func put(kube *testkube.Server, name, driver, instance, uid, labels string) {
	kube.Put(csiNodes+"/"+name, `{"metadata":{"ownerReferences":[{"uid":"uid-`+name+`"}]},"spec":{"drivers":[{"name":"`+driver+`","nodeID":"`+instance+`"}]}}`)
	kube.Put("/api/v1/nodes/"+name, `{"metadata":{"uid":"`+uid+`","labels":{`+labels+`}}}`)
}

func newSource(t *testing.T, kube *testkube.Server) *Source {
	t.Helper()
	client, err := kubeapi.InCluster(kube.Getenv, kube.AccountDir)
	if err != nil {
		t.Fatal(err)
	}
	return New(client, driver)
}

// count tells how many requests for a path there were.
func count(kube *testkube.Server, path string) (n int) {
	for _, request := range kube.Requests() {
		if request == "GET "+path {
			n++
		}
	}
	return n
}

func TestOf(t *testing.T) {
	kube := testkube.New(t)
	put(kube, "labelled", driver, instance(1), "uid-labelled", `"`+label+`":"EWR"`)
	put(kube, "capitals", driver, strings.ToUpper(instance(2)), "uid-capitals", `"`+label+`":"lax"`)
	put(kube, "unlabelled", driver, instance(3), "uid-unlabelled", `"topology.kubernetes.io/region":"us-east"`)
	put(kube, "made-again", driver, instance(4), "another", `"`+label+`":"ewr"`)
	put(kube, "without", "other.example.com", instance(5), "uid-without", `"`+label+`":"ewr"`)
	kube.Put(csiNodes+"/gone", `{"metadata":{"ownerReferences":[{"uid":"x"}]},"spec":{"drivers":[{"name":"`+driver+`","nodeID":"`+instance(6)+`"}]}}`)
	s := newSource(t, kube)
	for n, want := range map[int]string{1: "ewr", 2: "lax", 3: "", 4: "", 5: "", 6: "", 7: ""} {
		region, by := s.Of(t.Context(), instance(n))
		if region != want || (by == "") != (want == "") {
			t.Errorf("instance %d is in %q, %q, want %q", n, region, by, want)
		}
	}
	if _, by := s.Of(t.Context(), strings.ToUpper(instance(1))); !strings.Contains(by, "labelled") || !strings.Contains(by, label) {
		t.Errorf("it is known %q", by)
	}
}

// TestManyAtOnce: they need one list of CSINodes.
func TestManyAtOnce(t *testing.T) {
	kube := testkube.New(t)
	const nodes = 20
	for n := range nodes {
		put(kube, fmt.Sprintf("node-%d", n), driver, instance(n), fmt.Sprintf("uid-node-%d", n), `"`+label+`":"ewr"`)
	}
	s := newSource(t, kube)
	began := time.Now()
	var all sync.WaitGroup
	for n := range nodes {
		all.Go(func() {
			if region, _ := s.Of(t.Context(), instance(n)); region != "ewr" {
				t.Errorf("instance %d is in %q", n, region)
			}
		})
	}
	all.Wait()
	if lists := count(kube, csiNodes); lists > 1 && time.Since(began) < listFor {
		t.Errorf("%d lists", lists)
	}
}

// TestNoAnswer: an apiserver that fails is left alone for a while, whatever it failed to answer; a caller that gave up is no
// such failure.
func TestNoAnswer(t *testing.T) {
	for _, path := range []string{csiNodes, "/api/v1/nodes/node-1"} {
		kube := testkube.New(t)
		put(kube, "node-1", driver, instance(1), "uid-node-1", `"`+label+`":"ewr"`)
		s := newSource(t, kube)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if region, _ := s.Of(ctx, instance(1)); region != "" {
			t.Errorf("without time it is in %q", region)
		}
		kube.Fault(func(_, asked string) int {
			if asked == path {
				return http.StatusServiceUnavailable
			}
			return 0
		})
		before := len(kube.Requests())
		if region, _ := s.Of(t.Context(), instance(1)); region != "" || len(kube.Requests()) == before {
			t.Errorf("%s fails, and it is in %q after %d requests", path, region, len(kube.Requests())-before)
		}
		before = len(kube.Requests())
		for range 3 {
			if region, _ := s.Of(t.Context(), instance(2)); region != "" || len(kube.Requests()) != before {
				t.Errorf("%s failed a moment ago, and there were %d more requests", path, len(kube.Requests())-before)
			}
		}
		kube.Fault(nil)
		s.quietUntil = time.Now()
		if region, _ := s.Of(t.Context(), instance(1)); region != "ewr" {
			t.Errorf("%s answers again, and it is in %q", path, region)
		}
	}
}
