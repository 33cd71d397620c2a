package scenario

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// lifeMethods are the calls that a volume's life is made of.
var lifeMethods = []string{
	"CreateVolume", "ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume",
	"NodeUnpublishVolume", "NodeUnstageVolume", "ControllerUnpublishVolume", "DeleteVolume",
}

// rpcSum is a line of the driver's metrics: the time that calls of one method took. rpcCount is how many there were.
var (
	rpcSum   = regexp.MustCompile(`(?m)^csi_rpc_duration_seconds_sum\{[^}]*method="([^"]+)"[^}]*\} (\S+)$`)
	rpcCount = regexp.MustCompile(`(?m)^csi_rpc_duration_seconds_count\{[^}]*method="([^"]+)"[^}]*\} (\S+)$`)
)

// rpcTimes is how many seconds calls have taken by method, in all driver processes together.
type rpcTimes map[string]float64

// rpcTimes reads the metrics of all driver processes.
func (w *World) rpcTimes(ctx context.Context) (rpcTimes, error) {
	times, err := w.sums(ctx, rpcSum)
	return times, err
}

// rpcCount is how many calls of a method there were, in all driver processes together.
func (w *World) rpcCount(ctx context.Context, method string) (float64, error) {
	counts, err := w.sums(ctx, rpcCount)
	return counts[method], err
}

// sums adds up what the lines of the metrics of all driver processes say of each method.
func (w *World) sums(ctx context.Context, line *regexp.Regexp) (map[string]float64, error) {
	sums := map[string]float64{}
	pods, err := w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: "role=csi-vultr"})
	if err != nil {
		return nil, err
	}
	for i := range pods.Items {
		text, err := w.driverMetrics(ctx, &pods.Items[i])
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", pods.Items[i].Name, err)
		}
		for _, match := range line.FindAllStringSubmatch(text, -1) {
			value, err := strconv.ParseFloat(match[2], 64)
			if err != nil {
				return nil, err
			}
			sums[match[1][strings.LastIndex(match[1], "/")+1:]] += value
		}
	}
	return sums, nil
}

// driverMetrics reads a driver's metrics; a node's are for its own machine only.
func (w *World) driverMetrics(ctx context.Context, pod *corev1.Pod) (string, error) {
	client, host := w.HTTP(), pod.Status.PodIP
	if pod.Spec.HostNetwork {
		instance, err := w.instanceOf(ctx, pod.Spec.NodeName)
		if err != nil {
			return "", err
		}
		client, host = w.WorkerHTTP(instance), "127.0.0.1"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, "9808")+"/metrics", nil)
	if err != nil {
		return "", err
	}
	return w.sendBy(client, request)
}

// since is what has come on top of earlier times.
func (r rpcTimes) since(before rpcTimes) rpcTimes {
	added := rpcTimes{}
	for method, seconds := range r {
		added[method] = seconds - before[method]
	}
	return added
}

// plus joins the times of two stretches.
func (r rpcTimes) plus(more rpcTimes) rpcTimes {
	sum := rpcTimes{}
	for _, part := range []rpcTimes{r, more} {
		for method, seconds := range part {
			sum[method] += seconds
		}
	}
	return sum
}

// life is the sum over the methods of a volume's life, and each one's share.
func (r rpcTimes) life() (float64, string) {
	total, parts := 0.0, []string{}
	for _, method := range lifeMethods {
		total += r[method]
		parts = append(parts, fmt.Sprintf("%s %.2f s", method, r[method]))
	}
	return total, strings.Join(parts, ", ")
}
