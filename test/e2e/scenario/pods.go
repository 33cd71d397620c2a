package scenario

import (
	"context"
	"fmt"
	"net"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// readyPod waits until the pod is ready, on any node but the one named.
func (w *World) readyPod(ctx context.Context, name, notOn string) (*corev1.Pod, error) {
	var pod *corev1.Pod
	what := "pod " + name + " is ready"
	if notOn != "" {
		what += " on another node than " + notOn
	}
	err := w.wait(ctx, what, func(ctx context.Context) error {
		var err error
		if pod, err = w.Kubernetes.CoreV1().Pods(w.Namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		return podReady(pod, notOn)
	})
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, w.events(context.WithoutCancel(ctx), name))
	}
	return pod, nil
}

func podReady(pod *corev1.Pod, notOn string) error {
	if pod.DeletionTimestamp != nil {
		return fmt.Errorf("pod %s is being deleted", pod.Name)
	}
	if pod.Spec.NodeName == notOn {
		return fmt.Errorf("pod %s is on node %q", pod.Name, pod.Spec.NodeName)
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("pod %s is %s", pod.Name, pod.Status.Phase)
}

// events returns the last words about an object.
func (w *World) events(ctx context.Context, name string) string {
	list, err := w.Kubernetes.CoreV1().Events(w.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	text.WriteString("its events:")
	for _, e := range list.Items[max(0, len(list.Items)-5):] {
		fmt.Fprintf(&text, "\n  %s %s: %s", e.Type, e.Reason, e.Message)
	}
	return text.String()
}

// podURL is where a pod answers.
func podURL(pod *corev1.Pod) string { return "http://" + net.JoinHostPort(pod.Status.PodIP, "8080") }
