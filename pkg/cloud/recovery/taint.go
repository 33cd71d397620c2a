package recovery

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

func isReady(node *v1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c v1.NodeCondition) bool {
		return c.Type == v1.NodeReady && c.Status == v1.ConditionTrue
	})
}

// patchTaints replaces the taints of a Node by what decide makes of its present state, and says whether there was
// anything to change. It changes this very Node only: a machine that was replaced under the same name meanwhile, or
// a Node that somebody else changed at the same time, is left alone (the latter with an error, to be tried again).
func patchTaints(ctx context.Context, client kubernetes.Interface, node *v1.Node, decide func(*v1.Node) []v1.Taint) (bool, error) {
	fresh, err := client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if fresh.UID != node.UID || fresh.Spec.ProviderID != node.Spec.ProviderID {
		return false, nil
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
