package main

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	recording "k8s.io/client-go/tools/record"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/beside"
)

const (
	daemonSetPath = "/apis/apps/v1/namespaces/kube-system/daemonsets/vultr-ccm"
	podsPath      = "/api/v1/namespaces/kube-system/pods"
)

// officialDaemonSet is the official manager's workload, with a pod on one node.
func officialDaemonSet() *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		TypeMeta:   metav1.TypeMeta{Kind: "DaemonSet", APIVersion: "apps/v1"},
		ObjectMeta: metav1.ObjectMeta{Name: "vultr-ccm", Namespace: "kube-system", UID: "1"},
		Spec: appsv1.DaemonSetSpec{Template: v1.PodTemplateSpec{Spec: v1.PodSpec{Containers: []v1.Container{
			{Name: "vultr-cloud-controller-manager", Image: "vultr/vultr-cloud-controller-manager:v0.18.0"},
		}}}},
		Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 1, CurrentNumberScheduled: 1},
	}
}

func (s *apiServer) daemonSet(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.official == nil {
		notFound(w)
		return
	}
	answer(w, http.StatusOK, s.official)
}

// setOfficial installs the official manager's workload, or removes it.
func (s *apiServer) setOfficial(d *appsv1.DaemonSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.official = d
}

func noPods(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, &v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}})
}

// TestBesideTheOfficialManager: the program waits for its end without the lease and without a restart, tells of it once, and
// works then.
func TestBesideTheOfficialManager(t *testing.T) {
	r := newNodesRig(t, 1)
	r.server.setOfficial(officialDaemonSet())
	p := r.launch(t)
	p.becomes(t, http.StatusServiceUnavailable, "[-] official: the official cloud controller manager runs (DaemonSet kube-system/vultr-ccm)")
	if code, text := p.says(t, "/livez"); code != http.StatusOK {
		t.Errorf("a restart is asked for: %d %s", code, text)
	}
	eventually(t, "an Event tells of it", func() bool { return len(r.server.told("OfficialControllerRuns")) > 0 })
	if holder, _ := r.server.holder(); holder != "" {
		t.Errorf("%s has the lease", holder)
	}

	r.server.setOfficial(nil)
	p.becomes(t, http.StatusOK, "[+] role: leads since ")
	r.await(t, 1)
	told := r.server.told("OfficialControllerRuns")
	if len(told) != 1 || !strings.HasPrefix(told[0], "DaemonSet vultr-ccm: ") || !strings.Contains(told[0], "docs/migrate.md") {
		t.Errorf("the Events are %q", told)
	}
	if code, _ := p.terminate(t); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// TestEndsWhileItWaitsForTheOfficialManager: it ends in order, and has not begun anything.
func TestEndsWhileItWaitsForTheOfficialManager(t *testing.T) {
	r := newNodesRig(t, 1)
	r.server.setOfficial(officialDaemonSet())
	p := r.launch(t)
	p.becomes(t, http.StatusServiceUnavailable, "[-] official: ")
	if code, took := p.terminate(t); code != 0 || took > 10*time.Second {
		t.Errorf("it ended with %d after %s", code, took)
	}
	if holder, _ := r.server.holder(); holder != "" {
		t.Errorf("%s has the lease", holder)
	}
}

// TestControllerOfOneClassWorksBesideTheOfficialManager: that is what it is for.
func TestControllerOfOneClassWorksBesideTheOfficialManager(t *testing.T) {
	r := newNodesRig(t, 1)
	r.server.setOfficial(officialDaemonSet())
	p := r.launch(t, "--vultr-load-balancer-class-only=true", "--controllers=service-lb-controller")
	p.becomes(t, http.StatusOK, "[+] role: leads since ")
	if told := r.server.told("OfficialControllerRuns"); len(told) > 0 {
		t.Errorf("the Events are %q", told)
	}
}

// TestTheOfficialManagerComesLater: the process that leads goes on, and says that it is not alone.
func TestTheOfficialManagerComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t, "")
		e.beside = beside.New(e.client, recording.NewFakeRecorder(10), "me")
		e.run()
		time.Sleep(time.Minute) // of the fake clock
		synctest.Wait()
		if !e.started || e.beside.Fault() != nil {
			t.Fatalf("it is alone and does not work: %v", e.beside.Fault())
		}
		if _, err := e.client.AppsV1().DaemonSets("kube-system").Create(t.Context(), officialDaemonSet(), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // of the fake clock
		synctest.Wait()
		if e.ended() || e.holder(t) != "me" {
			t.Error("it gave the lease away")
		}
		if e.beside.Fault() == nil {
			t.Error("it does not say that it is not alone")
		}
		close(e.work)
		e.tell()
		synctest.Wait()
		if !e.ended() {
			t.Error("it does not end")
		}
	})
}
