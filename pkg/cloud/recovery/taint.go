package recovery

import (
	"context"
	"encoding/json"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// live returns the Node as the API server has it now, nil if it is no more or has been replaced under its name.
func live(ctx context.Context, client kubernetes.Interface, node *v1.Node) (*v1.Node, error) {
	fresh, err := client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if fresh.UID != node.UID || fresh.Spec.ProviderID != node.Spec.ProviderID {
		return nil, nil
	}
	return fresh, nil
}

// patchTaints replaces the taints of a Node by what decide makes of its present state, and reports whether there was
// anything to change. It changes this very Node only: a machine that was replaced under the same name meanwhile, or
// a Node that somebody else changed at the same time, is left alone (the latter with an error, to be tried again).
func patchTaints(ctx context.Context, client kubernetes.Interface, node *v1.Node, decide func(*v1.Node) []v1.Taint) (bool, error) {
	fresh, err := live(ctx, client, node)
	if err != nil || fresh == nil {
		return false, err
	}
	taints := decide(fresh)
	if taints == nil || len(taints) == len(fresh.Spec.Taints) {
		return false, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": fresh.UID, "resourceVersion": fresh.ResourceVersion},
		"spec":     map[string]any{"taints": taints},
	})
	if err != nil {
		return false, fmt.Errorf("writing the patch: %w", err)
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err == nil, err
}
