package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// Traffic are scenarios in which clients must not notice a change. They can run beside each other.
func Traffic() []Step {
	return []Step{
		{"ports of a Service come and go beside one in use", apartStep("traffic-ports", portsChange)},
		{"a pod moves to another node with policy Local", apartStep("traffic-local", podMovesLocally)},
		{"a certificate is renewed in use", apartStep("traffic-tls", certificateRenewed)},
		{"pods learn their clients' addresses by the PROXY protocol", apartStep("traffic-proxy", proxyProtocol)},
		{"datagrams are answered", apartStep("traffic-udp", datagrams)},
		{"source ranges refuse others", apartStep("traffic-ranges", rangesRefuse)},
	}
}

// TrafficOnNodes are those that need the nodes for themselves.
func TrafficOnNodes() []Step {
	return []Step{{"all nodes are replaced", withinStep("traffic-nodes", nodesReplaced)}}
}

// portsChange adds ports to a Service, moves one and takes it away, while another is used.
func portsChange(ctx context.Context, w *World) (string, error) {
	if err := w.greeters(ctx, 2, nil); err != nil {
		return "", err
	}
	address, err := w.balance(ctx, []corev1.ServicePort{tcpPort(80), tcpPort(81)})
	if err != nil {
		return "", err
	}
	used := w.greeted(address, 80)
	if err := errors.Join(w.answers(ctx, "port 80 answers", used), w.answers(ctx, "port 81 answers", w.greeted(address, 81))); err != nil {
		return "", err
	}
	asked, err := under(ctx, used, func(ctx context.Context, _ *traffic) error {
		for _, ports := range [][]int32{{80, 82}, {80, 82, 83}, {80, 81}} {
			if err := w.listenOn(ctx, address, ports); err != nil {
				return err
			}
		}
		return nil
	})
	return fmt.Sprintf("%d requests to port 80 meanwhile, none failed", asked), err
}

// listenOn gives the Service these ports and waits until they answer, and none of the others that there were.
func (w *World) listenOn(ctx context.Context, address string, ports []int32) error {
	wanted := map[int32]bool{}
	err := w.changeService(ctx, func(s *corev1.Service) {
		there := map[int32]corev1.ServicePort{}
		for _, port := range s.Spec.Ports {
			there[port.Port] = port // with its node port
		}
		s.Spec.Ports = nil
		for _, number := range ports {
			port, known := there[number]
			if !known {
				port = tcpPort(number)
			}
			s.Spec.Ports = append(s.Spec.Ports, port)
		}
	})
	if err != nil {
		return err
	}
	for _, number := range ports {
		wanted[number] = true
		if err := w.answers(ctx, fmt.Sprintf("port %d answers", number), w.greeted(address, number)); err != nil {
			return err
		}
	}
	for number := int32(80); number <= 83; number++ {
		if wanted[number] {
			continue
		}
		ask := w.greeted(address, number)
		err := w.wait(ctx, fmt.Sprintf("port %d answers no more", number), func(ctx context.Context) error {
			if name, err := look(ctx, ask); err == nil {
				return fmt.Errorf("%s answers", name)
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// podMovesLocally moves the only pod of a Service with policy Local, which its load balancer has to find out.
func podMovesLocally(ctx context.Context, w *World) (string, error) {
	nodes, err := w.readyNodes(ctx)
	if err != nil || len(nodes) < 2 {
		return "", errors.Join(err, fmt.Errorf("two nodes are needed, ready are %v", nodes))
	}
	// The new pod serves for a while before the old one is told to end, so that the load balancer has found its node.
	err = w.greeters(ctx, 1, nil, func(d *appsv1.Deployment) {
		d.Spec.MinReadySeconds = 10
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(0)),
		}}
		d.Spec.Template.Spec.NodeSelector = map[string]string{corev1.LabelHostname: nodes[0]}
	})
	if err != nil {
		return "", err
	}
	address, err := w.balance(ctx, []corev1.ServicePort{tcpPort(80)}, func(s *corev1.Service) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	})
	if err != nil {
		return "", err
	}
	ask := w.greeted(address, 80)
	if err := errors.Join(w.behind(ctx, address, nodes[0]), w.answers(ctx, "the pod answers", ask)); err != nil {
		return "", err
	}
	before, err := ask(ctx)
	if err != nil {
		return "", err
	}
	asked, err := under(ctx, ask, func(ctx context.Context, t *traffic) error {
		patch := fmt.Appendf(nil, `{"spec":{"template":{"spec":{"nodeSelector":{%q:%q}}}}}`, corev1.LabelHostname, nodes[1])
		if _, err := w.Kubernetes.AppsV1().Deployments(w.Namespace).Patch(ctx, greeter, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return err
		}
		if err := w.behind(ctx, address, nodes[1]); err != nil {
			return err
		}
		if err := w.onlyPodOn(ctx, nodes[1]); err != nil {
			return err
		}
		if t.answeredBy(before) == 0 {
			return errors.New("the first pod has answered nothing")
		}
		return w.wait(ctx, "the other pod answers", func(ctx context.Context) error {
			name, err := ask(ctx)
			if err == nil && name == before {
				err = fmt.Errorf("%s answers", name)
			}
			return err
		})
	})
	return fmt.Sprintf("from %s to %s, %d requests meanwhile, none failed", nodes[0], nodes[1], asked), err
}

// onlyPodOn waits until there is one pod, on that node: the other one has ended.
func (w *World) onlyPodOn(ctx context.Context, node string) error {
	return w.wait(ctx, "the only pod is on "+node, func(ctx context.Context) error {
		pods, err := w.Kubernetes.CoreV1().Pods(w.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + greeter})
		if err != nil {
			return err
		}
		var on []string
		for i := range pods.Items {
			on = append(on, pods.Items[i].Spec.NodeName)
		}
		if !slices.Equal(on, []string{node}) {
			return fmt.Errorf("there are pods on %v", on)
		}
		return nil
	})
}

// proxyProtocol has pods that demand the PROXY protocol tell whom they take a worker for.
func proxyProtocol(ctx context.Context, w *World) (string, error) {
	if err := w.greeters(ctx, 2, []string{"-proxy"}); err != nil {
		return "", err
	}
	address, err := w.balance(ctx, []corev1.ServicePort{tcpPort(80)}, func(s *corev1.Service) {
		s.Annotations[loadBalancer+"proxy-protocol"] = "true"
	})
	if err != nil {
		return "", err
	}
	two, err := w.twoInstances(ctx)
	if err != nil {
		return "", err
	}
	ask := func(ctx context.Context) (string, error) {
		for _, instance := range two {
			answer, err := w.fetchFrom(ctx, instance, "http://"+address+"/")
			if err != nil {
				return "", err
			}
			_, client, _ := strings.Cut(answer, " ")
			host, _, err := net.SplitHostPort(client)
			if err != nil || host != instance.MainIP {
				return "", fmt.Errorf("a client at %s is taken for %q", instance.MainIP, client)
			}
		}
		return "each for what it is", nil
	}
	if err := w.answers(ctx, "the pods know their clients", ask); err != nil {
		return "", err
	}
	asked, err := under(ctx, ask, func(ctx context.Context, _ *traffic) error {
		// Health checks, which come without the header, find the pods well all the time.
		return w.stays(ctx, 8*time.Second, func(ctx context.Context) error {
			healthy, err := w.healthyBackends(ctx, address)
			if err == nil && len(healthy) < len(two) {
				err = fmt.Errorf("only %v are well", healthy)
			}
			return err
		})
	})
	return fmt.Sprintf("%d requests from each worker, by their own addresses", asked), err
}

// stays checks that something is so for a while.
func (*World) stays(ctx context.Context, long time.Duration, is func(context.Context) error) error {
	over := time.After(long)
	for {
		if err := is(ctx); err != nil {
			return err
		}
		select {
		case <-over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond): // between two looks
		}
	}
}

// fetchFrom reads a page from inside an instance's machine.
func (w *World) fetchFrom(ctx context.Context, instance cluster.CloudInstance, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	return w.sendBy(w.WorkerHTTP(instance), request)
}

// datagrams asks by UDP while the TCP port of the same Service, by which nodes are checked, is replaced by another one.
func datagrams(ctx context.Context, w *World) (string, error) {
	if err := w.greeters(ctx, 2, nil); err != nil {
		return "", err
	}
	udp := corev1.ServicePort{Name: "udp", Port: 9000, TargetPort: intstr.FromInt32(greeterUDP), Protocol: corev1.ProtocolUDP}
	address, err := w.balance(ctx, []corev1.ServicePort{tcpPort(80), udp})
	if err != nil {
		return "", err
	}
	ask := func(ctx context.Context) (string, error) { return w.datagram(ctx, net.JoinHostPort(address, "9000")) }
	if err := w.answers(ctx, "datagrams are answered", ask); err != nil {
		return "", err
	}
	asked, err := under(ctx, ask, func(ctx context.Context, _ *traffic) error {
		return w.listenOnWith(ctx, address, udp)
	})
	return fmt.Sprintf("%d datagrams, none was lost", asked), err
}

// listenOnWith adds a TCP port to the Service beside a UDP port, and takes the first one away.
func (w *World) listenOnWith(ctx context.Context, address string, udp corev1.ServicePort) error {
	err := w.changeService(ctx, func(s *corev1.Service) {
		for _, port := range s.Spec.Ports {
			if port.Protocol == corev1.ProtocolUDP {
				udp = port // with its node port
			}
		}
		s.Spec.Ports = []corev1.ServicePort{tcpPort(81), udp}
	})
	if err != nil {
		return err
	}
	return w.answers(ctx, "port 81 answers", w.greeted(address, 81))
}

// datagram sends one and waits for the answer.
func (w *World) datagram(ctx context.Context, address string) (string, error) {
	conn, err := w.Dial(ctx, "udp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // nothing is to come
	deadline, _ := ctx.Deadline()       // whoever asks has one
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	question := fmt.Sprintf("%d", time.Now().UnixNano())
	if _, err := conn.Write([]byte(question)); err != nil {
		return "", err
	}
	buffer := make([]byte, 1500)
	n, err := conn.Read(buffer)
	if err != nil {
		return "", err
	}
	name, echoed, _ := strings.Cut(string(buffer[:n]), " ")
	if echoed != question {
		return "", fmt.Errorf("asked was %s, answered %q", question, buffer[:n])
	}
	return name, nil
}

// rangesRefuse lets one worker connect, by the Service's own ranges; then the other one alone, by a ConfigMap; and then, when that is
// changed, the first one again.
func rangesRefuse(ctx context.Context, w *World) (string, error) {
	if err := w.greeters(ctx, 2, nil); err != nil {
		return "", err
	}
	two, err := w.twoInstances(ctx)
	if err != nil {
		return "", err
	}
	address, err := w.balance(ctx, []corev1.ServicePort{tcpPort(80)}, func(s *corev1.Service) {
		s.Spec.LoadBalancerSourceRanges = []string{two[0].MainIP + "/32"}
		s.Annotations[loadBalancer+"ip-mode"] = "proxy" // or kube-proxy would keep the workers' requests from the load balancer
	})
	if err != nil {
		return "", err
	}
	if err := w.admitsOnly(ctx, address, two[0], two[1]); err != nil {
		return "", err
	}
	rules := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: greeter}, Data: map[string]string{firewallKey: two[1].MainIP + "/32,80"}}
	if rules, err = w.Kubernetes.CoreV1().ConfigMaps(w.Namespace).Create(ctx, rules, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	err = w.changeService(ctx, func(s *corev1.Service) {
		s.Spec.LoadBalancerSourceRanges = nil
		s.Annotations[loadBalancer+"firewall-rules-cm"] = greeter
	})
	if err != nil {
		return "", err
	}
	if err := w.admitsOnly(ctx, address, two[1], two[0]); err != nil {
		return "", fmt.Errorf("by a ConfigMap: %w", err)
	}
	rules.Data[firewallKey] = two[0].MainIP + "/32,80"
	if _, err := w.Kubernetes.CoreV1().ConfigMaps(w.Namespace).Update(ctx, rules, metav1.UpdateOptions{}); err != nil {
		return "", err
	}
	if err := w.admitsOnly(ctx, address, two[0], two[1]); err != nil {
		return "", fmt.Errorf("by a ConfigMap that was changed: %w", err)
	}
	if _, err := look(ctx, w.greeted(address, 80)); err == nil {
		return "", errors.New("a third one may connect")
	}
	return fmt.Sprintf("%s alone, then %s alone, then %s again", two[0].Label, two[1].Label, two[0].Label), nil
}

// firewallKey is where a ConfigMap has rules.
const firewallKey = "firewallRules"

// admitsOnly waits until one instance can connect and the other one cannot, and sees that this stays so.
func (w *World) admitsOnly(ctx context.Context, address string, one, other cluster.CloudInstance) error {
	from := func(instance cluster.CloudInstance) asks {
		return func(ctx context.Context) (string, error) { return w.fetchFrom(ctx, instance, "http://"+address+"/") }
	}
	both := func(ctx context.Context) error {
		if _, err := look(ctx, from(one)); err != nil {
			return fmt.Errorf("%s: %w", one.Label, err)
		}
		if answer, err := look(ctx, from(other)); err == nil {
			return fmt.Errorf("%s, which is in no range, is answered %q", other.Label, answer)
		}
		return ctx.Err()
	}
	if err := w.wait(ctx, "only "+one.Label+" can connect", both); err != nil {
		return err
	}
	return w.stays(ctx, 3*time.Second, both)
}

// nodesReplaced brings new nodes, and takes each of the old ones away as administrators do: first out of the load balancers, then
// drained, then destroyed.
func nodesReplaced(ctx context.Context, w *World) (string, error) {
	old, err := w.twoInstances(ctx)
	if err != nil {
		return "", err
	}
	if err := w.greeters(ctx, 2, nil); err != nil {
		return "", err
	}
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: greeter},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: new(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": greeter}},
		},
	}
	if _, err := w.Kubernetes.PolicyV1().PodDisruptionBudgets(w.Namespace).Create(ctx, budget, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	address, err := w.balance(ctx, []corev1.ServicePort{tcpPort(80)})
	if err != nil {
		return "", err
	}
	ask := w.greeted(address, 80)
	before := []string{old[0].Label, old[1].Label}
	if err := errors.Join(w.behind(ctx, address, before...), w.answers(ctx, "the pods answer", ask)); err != nil {
		return "", err
	}
	number := time.Now().Unix() % 100000
	fresh := []string{fmt.Sprintf("worker-%d", number), fmt.Sprintf("worker-%d", number+1)}
	asked, err := under(ctx, ask, func(ctx context.Context, _ *traffic) error {
		if err := w.addNodes(ctx, address, before, fresh); err != nil {
			return err
		}
		if err := w.leaves(ctx, address, old[0], slices.Concat(before[1:], fresh)); err != nil {
			return err
		}
		return w.leaves(ctx, address, old[1], fresh)
	})
	return fmt.Sprintf("%v are now %v; %d requests meanwhile, none failed", before, fresh, asked), err
}

// addNodes brings nodes beside those that there are, and waits until all of them are behind the load balancer.
func (w *World) addNodes(ctx context.Context, address string, before, fresh []string) error {
	for _, name := range fresh {
		if _, err := w.CreateInstance(ctx, name); err != nil {
			return err
		}
	}
	patient := *w
	patient.Limit = 2 * w.Limit // their images come first
	if err := patient.behind(ctx, address, slices.Concat(before, fresh)...); err != nil {
		return err
	}
	// Pods that leave the old ones need them without their start-up taint.
	return patient.wait(ctx, "the product runs on the new nodes", w.productRuns)
}

// leaves takes a node away beside others that stay.
func (w *World) leaves(ctx context.Context, address string, old cluster.CloudInstance, others []string) error {
	if err := w.exclude(ctx, old.Label, true); err != nil {
		return err
	}
	if err := w.behind(ctx, address, others...); err != nil {
		return err
	}
	if _, err := w.Kubectl(ctx, "", "drain", old.Label, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=3m"); err != nil {
		return err
	}
	if err := w.removeNode(ctx, old); err != nil {
		return err
	}
	return w.behind(ctx, address, others...)
}
