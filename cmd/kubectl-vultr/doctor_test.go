package main

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// silence has the API server refuse to list a resource.
func (w *world) silence(name string) {
	w.client.PrependReactor("list", name, func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: name}, "", nil)
	})
}

// refuse has the platform fail an operation from now on.
func (w *world) refuse(operation string) {
	w.Helper()
	w.cloud.Fault(simulator.Fault{Operation: operation, Action: simulator.FaultStatus, Status: 500})
}

// strangers makes the account one that shows no instance of the cluster: its Nodes name others.
func (w *world) strangers() {
	w.Helper()
	nodes, err := w.client.CoreV1().Nodes().List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		node.Spec.ProviderID = "vultr://0a000000-0000-4000-8000-000000000009"
		if _, err := w.client.CoreV1().Nodes().Update(w.Context(), node, metav1.UpdateOptions{}); err != nil {
			w.Fatal(err)
		}
	}
}

func of(findings []report.Finding, check string) (all []string) {
	for _, f := range findings {
		if f.Check == check {
			all = append(all, string(f.Severity)+" "+f.Object+": "+f.Problem)
		}
	}
	return all
}

func TestDoctor(t *testing.T) {
	w := newWorld(t)
	w.machine("a")
	findings := want[[]report.Finding](w, report.Clean, nil, "doctor", "--strict")
	for _, check := range []string{"api-key", "api-rights", "api-rate", "controllers", "versions", "sidecars", "rbac", "node", "load-balancer"} {
		if len(of(findings, check)) == 0 {
			t.Errorf("nothing is said of %s", check)
		}
	}
	table := w.run(nil, "doctor")
	if table.code != report.Clean || !strings.Contains(table.out, "0 errors, 0 warnings, 0 checks could not be made.") {
		t.Errorf("%d\n%s", table.code, table.out)
	}
}

func TestDoctorOfAnIllCluster(t *testing.T) {
	w := newWorld(t)
	w.machine("a")
	service := w.service("web", nil)
	w.add(&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "bare"}})
	w.silence("csinodes")
	findings := want[[]report.Finding](w, report.Found, nil, "doctor", "--probe-node-ports")
	for check, text := range map[string]string{
		"kubelet":       "error Node bare: it has no provider ID, and its kubelet did not ask for one",
		"csi-node":      "unknown : could not be checked",
		"load-balancer": "error Service shop/" + service.Name + ": has no load balancer",
		"node-port":     "warning Node a: 192.0.2.7:31080 cannot be reached from here",
	} {
		if got := of(findings, check); !slices.ContainsFunc(got, func(said string) bool { return strings.HasPrefix(said, text) }) {
			t.Errorf("%s: got %q, want %q", check, got, text)
		}
	}
	if !slices.Equal(w.dialled, []string{"192.0.2.7:31080"}) {
		t.Errorf("dialled %v", w.dialled)
	}
}

// TestDoctorAndKeys shows the three ways in which a key fails, and that one that works serves the other checks.
func TestDoctorAndKeys(t *testing.T) {
	w := newWorld(t)
	w.machine("a")
	secrets := v1.SchemeGroupVersion.WithResource("secrets")
	if err := w.client.Tracker().Delete(secrets, kube.System, kube.CCMSecret); err != nil {
		t.Fatal(err)
	}
	findings := want[[]report.Finding](w, report.Found, nil, "doctor")
	keys := of(findings, "api-key")
	if len(keys) != 2 || keys[0] != "error Secret kube-system/vultr-ccm: there is no API key" || !strings.HasPrefix(keys[1], "ok Secret kube-system/vultr-csi") {
		t.Errorf("got %q", keys)
	}
	if got := of(findings, "node"); len(got) != 1 || !strings.HasPrefix(got[0], "ok") {
		t.Errorf("the nodes: %q", got)
	}
	w.secret(kube.CCMSecret, "REVOKED0123456789ABCDEFGHIJKLMNOPQRS")
	got := w.run(nil, "doctor")
	if !strings.Contains(got.out, "the API refuses the key") || strings.Contains(got.out+got.err, "REVOKED") {
		t.Errorf("got\n%s%s", got.out, got.err)
	}
	w.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStatus, Status: 403})
	if got := of(want[[]report.Finding](w, report.Found, nil, "doctor"), "api-rights"); len(got) != 1 || !strings.Contains(got[0], "may not read block storage") {
		t.Errorf("got %q", got)
	}
}

// TestOtherSecrets: the keys are those of the Secrets that the controllers mount, for every command that takes one.
func TestOtherSecrets(t *testing.T) {
	w := newWorld(t)
	w.machine("a")
	secrets := v1.SchemeGroupVersion.WithResource("secrets")
	for _, name := range []string{kube.CCMSecret, kube.CSISecret} {
		if err := w.client.Tracker().Delete(secrets, kube.System, name); err != nil {
			t.Fatal(err)
		}
	}
	w.add(&v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: kube.System, Name: "theirs"}, Data: map[string][]byte{"token": []byte(w.cloud.Key)}})
	for _, name := range []string{kube.CCM, kube.CSIController} {
		deployment, err := w.client.AppsV1().Deployments(kube.System).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		spec := &deployment.Spec.Template.Spec
		spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "api-key", MountPath: "/etc/vultr"}}
		spec.Volumes = []v1.Volume{{Name: "api-key", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{
			SecretName: "theirs", Items: []v1.KeyToPath{{Key: "token", Path: "api-key"}},
		}}}}
		if _, err := w.client.AppsV1().Deployments(kube.System).Update(t.Context(), deployment, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	keys := of(want[[]report.Finding](w, report.Clean, nil, "doctor", "--strict"), "api-key")
	if len(keys) != 1 || !strings.HasPrefix(keys[0], "ok Secret kube-system/theirs: the API accepts the key") {
		t.Errorf("got %q", keys)
	}
	for _, command := range []string{"lb", "volumes", "orphans"} {
		if got := w.run(nil, command); got.code != report.Clean {
			t.Errorf("%s: %d\n%s%s", command, got.code, got.out, got.err)
		}
	}
	// Who may read that Secret and not the Deployments is told what could not be read.
	w.silence("deployments")
	if got := w.run(nil, "volumes"); got.code != report.Failed || !strings.Contains(got.err, "vultr-csi") {
		t.Errorf("without the Deployments: %d\n%s", got.code, got.err)
	}
}

// TestDoctorOfOneProduct: a cluster that has only one of the two is in order.
func TestDoctorOfOneProduct(t *testing.T) {
	for _, one := range []struct {
		secret string // of the other one
		gone   []string
		refuse string // what the other one's account may not do
	}{
		{kube.CCMSecret, []string{kube.CCM}, "vultr-ccm"},
		{kube.CSISecret, []string{kube.CSIController, kube.CSINode}, "csi-vultr"},
	} {
		w := newWorld(t)
		w.machine("a")
		if err := w.client.Tracker().Delete(v1.SchemeGroupVersion.WithResource("secrets"), kube.System, one.secret); err != nil {
			t.Fatal(err)
		}
		for _, name := range one.gone {
			kind := "deployments"
			if name == kube.CSINode {
				kind = "daemonsets"
			}
			if err := w.client.Tracker().Delete(appsv1.SchemeGroupVersion.WithResource(kind), kube.System, name); err != nil {
				t.Fatal(err)
			}
		}
		w.client.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
			review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
			review.Status.Allowed = !strings.Contains(review.Spec.User, ":"+one.refuse)
			return true, review, nil
		})
		for _, f := range want[[]report.Finding](w, report.Clean, nil, "doctor", "--strict") {
			if f.Severity != report.OK {
				t.Errorf("without %v: %+v", one.gone, f)
			}
		}
	}
}
