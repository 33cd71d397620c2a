// Package kube reads from a cluster what the kubectl plugin needs. It changes nothing.
package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/identity"
)

// System is the namespace of the controllers, their Secrets and the record of load balancers.
const System = metav1.NamespaceSystem

// The reads of one command come at once; client-go's default of 5 a second would make people wait.
const (
	readsPerSecond = 50
	readsAtOnce    = 100
)

// Options say which cluster is meant, as kubectl's own flags do.
type Options struct {
	// Kubeconfig is a file; "" means the one that kubectl would take.
	Kubeconfig string
	// Context is one of the file; "" means its current one.
	Context string
	// UserAgent is told to the API server.
	UserAgent string
}

// Cluster reads a cluster.
type Cluster struct {
	Client kubernetes.Interface
	// Dynamic reads kinds that are not a part of Kubernetes' own API.
	Dynamic dynamic.Interface
	// Namespace is the one that kubectl would use.
	Namespace string
}

// Connect returns the cluster that kubectl would talk to. It makes no call.
func Connect(o Options) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.Context})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster: %w (set --kubeconfig or KUBECONFIG, and --context)", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("finding the namespace: %w", err)
	}
	config.QPS, config.Burst, config.UserAgent = readsPerSecond, readsAtOnce, o.UserAgent
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to the cluster: %w", err)
	}
	anyKind, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to the cluster: %w", err)
	}
	return &Cluster{Client: client, Dynamic: anyKind, Namespace: namespace}, nil
}

// failed says what could not be read, and what it takes.
func failed(what string, err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("reading %s: %w (your own account in the cluster lacks this right; an administrator's has it)", what, err)
	}
	return fmt.Errorf("reading %s: %w", what, err)
}

func pointers[T any](items []T) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all
}

// Nodes lists the Nodes.
func (c *Cluster) Nodes(ctx context.Context) ([]*v1.Node, error) {
	list, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the Nodes", err)
	}
	return pointers(list.Items), nil
}

// Services lists the Services of a namespace, "" for all.
func (c *Cluster) Services(ctx context.Context, namespace string) ([]*v1.Service, error) {
	list, err := c.Client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the Services", err)
	}
	return pointers(list.Items), nil
}

// Namespaces lists the Namespaces.
func (c *Cluster) Namespaces(ctx context.Context) ([]*v1.Namespace, error) {
	list, err := c.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the Namespaces", err)
	}
	return pointers(list.Items), nil
}

// Claims lists the PersistentVolumeClaims of a namespace, "" for all.
func (c *Cluster) Claims(ctx context.Context, namespace string) ([]*v1.PersistentVolumeClaim, error) {
	list, err := c.Client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the PersistentVolumeClaims", err)
	}
	return pointers(list.Items), nil
}

// Volumes lists the PersistentVolumes of the CSI driver.
func (c *Cluster) Volumes(ctx context.Context) ([]*v1.PersistentVolume, error) {
	list, err := c.Client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the PersistentVolumes", err)
	}
	foreign := func(pv *v1.PersistentVolume) bool {
		return pv.Spec.CSI == nil || pv.Spec.CSI.Driver != identity.DriverName
	}
	return slices.DeleteFunc(pointers(list.Items), foreign), nil
}

// Attachments lists the VolumeAttachments of the CSI driver.
func (c *Cluster) Attachments(ctx context.Context) ([]*storagev1.VolumeAttachment, error) {
	list, err := c.Client.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the VolumeAttachments", err)
	}
	foreign := func(va *storagev1.VolumeAttachment) bool { return va.Spec.Attacher != identity.DriverName }
	return slices.DeleteFunc(pointers(list.Items), foreign), nil
}

// Classes lists the StorageClasses of all drivers: which one is the default is a matter of all.
func (c *Cluster) Classes(ctx context.Context) ([]storagev1.StorageClass, error) {
	list, err := c.Client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the StorageClasses", err)
	}
	return list.Items, nil
}

// CSINodes lists the CSINodes.
func (c *Cluster) CSINodes(ctx context.Context) ([]*storagev1.CSINode, error) {
	list, err := c.Client.StorageV1().CSINodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the CSINodes", err)
	}
	return pointers(list.Items), nil
}

// Ledger returns the record of which load balancer was made for which Service.
func (c *Cluster) Ledger(ctx context.Context) (*ledger.Ledger, error) {
	record := ledger.New(c.Client)
	if err := record.Load(ctx); err != nil {
		return nil, failed("the record of load balancers", err)
	}
	return record, nil
}

// contents are VolumeSnapshotContents, whose kind is not a part of Kubernetes' own API.
var contents = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"}

// SnapshotUse is what VolumeSnapshotContents say about snapshots.
type SnapshotUse struct {
	// Handles are the snapshots that they name, in lower case.
	Handles map[string]bool
	// Snapshots are the UIDs of the VolumeSnapshots that they belong to: a snapshot whose content names no handle yet is
	// found by that.
	Snapshots map[types.UID]bool
}

// Snapshots returns which snapshots are in use. A cluster without that kind has none.
func (c *Cluster) Snapshots(ctx context.Context) (SnapshotUse, error) {
	use := SnapshotUse{Handles: map[string]bool{}, Snapshots: map[types.UID]bool{}}
	list, err := c.Dynamic.Resource(contents).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return use, nil
	}
	if err != nil {
		return use, failed("the VolumeSnapshotContents", err)
	}
	for i := range list.Items {
		use.add(list.Items[i].Object)
	}
	return use, nil
}

func (u SnapshotUse) add(content map[string]any) {
	for _, path := range [][]string{{"status", "snapshotHandle"}, {"spec", "source", "snapshotHandle"}} {
		if handle, there, err := unstructured.NestedString(content, path...); there && err == nil && handle != "" {
			u.Handles[strings.ToLower(handle)] = true
		}
	}
	if uid, there, err := unstructured.NestedString(content, "spec", "volumeSnapshotRef", "uid"); there && err == nil && uid != "" {
		u.Snapshots[types.UID(uid)] = true
	}
}

// Instances returns the instances behind Nodes, with the Nodes' names.
func Instances(nodes []*v1.Node) map[string]string {
	names := map[string]string{}
	for _, node := range nodes {
		if id, err := providerid.Parse(node.Spec.ProviderID); err == nil {
			names[id] = node.Name
		}
	}
	return names
}
