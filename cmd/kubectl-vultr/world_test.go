package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	clusterID = "prod"
	// later is how far the program's clock is ahead, so that what the cloud has just made is old enough.
	later = 72 * time.Hour
)

// world is a cluster in front of a simulated cloud. Its API server is client-go's fake one.
type world struct {
	*testing.T
	cloud  *simtest.Cloud
	client *fake.Clientset
	anyOf  *dynamicfake.FakeDynamicClient
	api    *vultr.Client // the test's own view
	env    map[string]string
	// dialled are the addresses that were connected to.
	dialled []string
	uids    int
}

var snapshotContents = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		T: t, client: fake.NewSimpleClientset(), env: map[string]string{},
		cloud: simtest.Start(t, simtest.Options{Config: simulator.Config{ReadLags: simulator.NoReadLag()}}),
		anyOf: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{snapshotContents: "VolumeSnapshotContentList"}),
	}
	w.env["API_URL"] = w.cloud.URL
	api, err := vultr.New(vultr.Config{BaseURL: w.cloud.URL, Key: w.cloud.Key, StartRate: 1000, MaxRate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	w.api = api
	w.client.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		review.Status.Allowed = true
		return true, review, nil
	})
	w.secret(kube.CCMSecret, w.cloud.Key)
	w.secret(kube.CSISecret, w.cloud.Key)
	w.install()
	return w
}

func (w *world) add(objects ...runtime.Object) {
	w.Helper()
	for _, o := range objects {
		if err := w.client.Tracker().Add(o); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) secret(name, key string) {
	w.Helper()
	w.add(&v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: kube.System, Name: name}, Data: map[string][]byte{"api-key": []byte(key + "\n")}})
}

// install adds the workloads of the manifests.
func (w *world) install() {
	w.Helper()
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: kube.System, Name: name} }
	pod := func(containers ...v1.Container) v1.PodTemplateSpec {
		return v1.PodTemplateSpec{Spec: v1.PodSpec{Containers: containers}}
	}
	two, release := int32(2), version.Get().Version
	w.add(
		&appsv1.Deployment{
			ObjectMeta: meta(kube.CCM), Status: appsv1.DeploymentStatus{ReadyReplicas: 2},
			Spec: appsv1.DeploymentSpec{Replicas: &two, Template: pod(v1.Container{Name: kube.CCM, Image: "cloud-provider-vultr/ccm:" + release, Args: []string{"--vultr-load-balancer-default=timeout=300"}})},
		},
		&appsv1.Deployment{
			ObjectMeta: meta(kube.CSIController), Status: appsv1.DeploymentStatus{ReadyReplicas: 2},
			Spec: appsv1.DeploymentSpec{Replicas: &two, Template: pod(
				v1.Container{Name: "csi-controller", Image: "cloud-provider-vultr/csi-controller:" + release, Args: []string{"--cluster-id=" + clusterID}},
				v1.Container{Name: "csi-provisioner", Image: "registry.k8s.io/sig-storage/csi-provisioner:v6.4.0"},
				v1.Container{Name: "csi-attacher", Image: "registry.k8s.io/sig-storage/csi-attacher:v4.13.0"},
				v1.Container{Name: "csi-resizer", Image: "registry.k8s.io/sig-storage/csi-resizer:v2.3.0"},
			)},
		},
		&appsv1.DaemonSet{
			ObjectMeta: meta(kube.CSINode), Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 1, NumberReady: 1},
			Spec: appsv1.DaemonSetSpec{Template: pod(v1.Container{Name: "csi-node", Image: "cloud-provider-vultr/csi-node:" + release})},
		},
	)
}

// machine adds an instance with its Node, on which the driver is registered.
func (w *world) machine(name string) (id string) {
	w.Helper()
	id = w.cloud.AddInstance(simulator.NewServer{Label: name})
	w.add(
		&v1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelTopologyRegion: "ewr"}},
			Spec:       v1.NodeSpec{ProviderID: "vultr://" + id},
			Status: v1.NodeStatus{
				Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}},
				Addresses:  []v1.NodeAddress{{Type: v1.NodeExternalIP, Address: "192.0.2.7"}},
			},
		},
		&storagev1.CSINode{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{Name: "block.csi.vultr.com", NodeID: id}}},
		},
	)
	return id
}

func (w *world) uid() types.UID {
	w.uids++
	return types.UID(fmt.Sprintf("%08d-43b6-4d94-b8f5-1c5c0e0a3c11", w.uids))
}

// service adds a Service that asks for a load balancer.
func (w *world) service(name string, annotations map[string]string) *v1.Service {
	w.Helper()
	s := w.unborn(name, annotations)
	w.add(s)
	return s
}

// unborn returns a Service that the cluster does not have.
func (w *world) unborn(name string, annotations map[string]string) *v1.Service {
	return &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: w.uid(), Annotations: annotations},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 80, NodePort: 31080, Protocol: v1.ProtocolTCP}}},
	}
}

// balancer makes the load balancer of a Service, as the controller would with the cluster's defaults, and waits until it has its
// address.
func (w *world) balancer(s *v1.Service, instances ...string) string {
	w.Helper()
	settings, err := kube.SettingsOf(w.workloads())
	if err != nil {
		w.Fatal(err)
	}
	want := plan.Read(s, plan.WithDefaults(settings.Defaults)).Desired
	want.Label, want.Instances = lost.Label(s.UID), instances
	lb, err := w.api.CreateLoadBalancer(w.Context(), "ewr", plan.Creation(want))
	if err != nil {
		w.Fatal(err)
	}
	w.cloud.Await("an active load balancer", func() bool {
		now, err := w.api.LoadBalancer(w.Context(), lb.ID)
		return err == nil && now.Active() && now.IPv4 != ""
	})
	return lb.ID
}

func (w *world) workloads() []kube.Workload {
	w.Helper()
	all, err := (&kube.Cluster{Client: w.client}).Workloads(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return all
}

// write writes down which load balancer is a Service's.
func (w *world) write(s *v1.Service, entry ledger.Entry) {
	w.Helper()
	l := ledger.New(w.client)
	if err := l.Load(w.Context()); err != nil {
		w.Fatal(err)
	}
	entry.Service = s.Namespace + "/" + s.Name
	if err := l.Put(w.Context(), s.UID, entry); err != nil {
		w.Fatal(err)
	}
}

// block makes a volume.
func (w *world) block(label string) string {
	w.Helper()
	v, err := w.api.CreateVolume(w.Context(), vultr.VolumeRequest{Label: label, Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
	if err != nil {
		w.Fatal(err)
	}
	w.cloud.Await("an active volume", func() bool {
		for _, view := range w.cloud.Sim.View().Blocks {
			if view.ID == v.ID {
				return view.Active
			}
		}
		return false
	})
	return v.ID
}

// attach attaches a volume and waits until it is.
func (w *world) attach(volume, instance string) {
	w.Helper()
	if err := w.api.AttachVolume(w.Context(), volume, instance); err != nil {
		w.Fatal(err)
	}
	w.cloud.Await("an attachment", func() bool {
		for _, view := range w.cloud.Sim.View().Blocks {
			if view.ID == volume {
				return view.AttachedTo == instance && view.Pending == ""
			}
		}
		return false
	})
}

// pv returns a PersistentVolume of a claim.
func pv(name, handle, claim string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PersistentVolumeSpec{
			Capacity:               v1.ResourceList{v1.ResourceStorage: resource.MustParse("10Gi")},
			ClaimRef:               &v1.ObjectReference{Namespace: "shop", Name: claim},
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{Driver: "block.csi.vultr.com", VolumeHandle: handle}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
}

// attachment returns a VolumeAttachment.
func attachment(name, pv, node string) *storagev1.VolumeAttachment {
	return &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       storagev1.VolumeAttachmentSpec{Attacher: "block.csi.vultr.com", NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &pv}},
		Status:     storagev1.VolumeAttachmentStatus{Attached: true},
	}
}

// content adds a VolumeSnapshotContent.
func (w *world) content(name, handle string) {
	w.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": map[string]any{"name": name},
		"status": map[string]any{"snapshotHandle": handle},
	}}
	if _, err := w.anyOf.Resource(snapshotContents).Create(w.Context(), object, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
}

// reply is what a command has written.
type reply struct {
	code     int
	out, err string
}

// run runs a command with a person who types the input.
func (w *world) run(input io.Reader, args ...string) reply {
	w.Helper()
	var out, errors strings.Builder
	if input == nil {
		input = strings.NewReader("")
	}
	code := run(w.Context(), args, environment{
		in: input, out: &out, err: &errors, getenv: func(name string) string { return w.env[name] },
		cluster: func(kube.Options) (*kube.Cluster, error) {
			return &kube.Cluster{Client: w.client, Dynamic: w.anyOf, Namespace: "shop"}, nil
		},
		dial: func(_ context.Context, _, address string) (net.Conn, error) {
			w.dialled = append(w.dialled, address)
			return nil, io.ErrClosedPipe
		},
		now: func() time.Time { return time.Now().Add(later) },
	})
	a := reply{code, out.String(), errors.String()}
	if strings.Contains(a.out+a.err, w.cloud.Key) {
		w.Errorf("%v shows the API key:\n%s%s", args, a.out, a.err)
	}
	return a
}

// want runs a command whose answer is JSON, and decodes that.
func want[T any](w *world, code int, input io.Reader, args ...string) T {
	w.Helper()
	a := w.run(input, append(args, "-o", "json")...)
	if a.code != code {
		w.Fatalf("%v: exit code %d, want %d\n%s%s", args, a.code, code, a.out, a.err)
	}
	var value T
	if err := json.Unmarshal([]byte(a.out), &value); err != nil {
		w.Fatalf("%v: %v\n%s%s", args, err, a.out, a.err)
	}
	return value
}
