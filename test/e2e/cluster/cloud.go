package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Region is where everything of a cluster is.
const Region = "ewr"

// startCloud starts the simulator in the outer box, with a key of its own.
func (c *Cluster) startCloud(ctx context.Context) error {
	random := make([]byte, 18)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	key := hex.EncodeToString(random)
	if err := os.WriteFile(c.run.path("api-key"), []byte(key+"\n"), 0o600); err != nil {
		return err
	}
	if err := c.run.writeHook(); err != nil {
		return err
	}
	c.Cloud = cloudWeb(key, c.HTTP())
	c.Admin = &Web{Base: "http://" + hostAddress + ":" + adminPort, client: c.HTTP()}
	return c.startSimulator(ctx)
}

// CloudURL is the simulated API as everything in the cluster's network reaches it.
const CloudURL = "http://" + hostAddress + ":" + cloudPort

// startSimulator starts the simulator and waits for it.
func (c *Cluster) startSimulator(ctx context.Context) error {
	err := c.startProgram(ctx, "simulator", c.run.path("bin", "simulator"),
		"--listen="+hostAddress+":"+cloudPort, "--admin-listen="+hostAddress+":"+adminPort,
		"--metadata-listen="+metadata+":80", "--state="+c.run.path("cloud"),
		"--api-key-file="+c.run.path("api-key"), "--instance-range="+instanceRange,
		"--balancers=on", "--balancer-range="+balancerRange, "--balancer-bridge="+bridge,
		"--machine-hook="+c.run.path("hook"), "--v=2",
		// Waiting for the platform to make the workers would show nothing; every other delay is its own.
		"--delay-instance-boot=2s", "--delay-instance-ready=3s")
	if err != nil {
		return err
	}
	return c.Eventually(ctx, "the simulated API answers", time.Minute, func(ctx context.Context) error {
		return c.Cloud.Get(ctx, "/v2/account", nil)
	})
}

// CloudInstance is an instance as the API shows it.
type CloudInstance struct {
	ID           string `json:"id"`
	Label        string `json:"label"`
	MainIP       string `json:"main_ip"`
	Status       string `json:"status"`
	PowerStatus  string `json:"power_status"`
	ServerStatus string `json:"server_status"`
	Region       string `json:"region"`
}

// CreateInstance orders an instance; it becomes a worker when it boots.
func (c *Cluster) CreateInstance(ctx context.Context, label string) (CloudInstance, error) {
	var answer struct {
		Instance CloudInstance `json:"instance"`
	}
	order := map[string]any{"region": Region, "plan": "vc2-2c-4gb", "os_id": 2136, "label": label, "hostname": label}
	err := c.Cloud.Do(ctx, http.MethodPost, "/v2/instances", order, &answer)
	return answer.Instance, err
}

// Instances lists the instances in the cloud.
func (c *Cluster) Instances(ctx context.Context) ([]CloudInstance, error) {
	var answer struct {
		Instances []CloudInstance `json:"instances"`
	}
	err := c.Cloud.Get(ctx, "/v2/instances?per_page=500", &answer)
	return answer.Instances, err
}

func (c *Cluster) createInstances(ctx context.Context) error {
	for n := range c.options.Workers {
		if _, err := c.CreateInstance(ctx, fmt.Sprintf("worker-%d", n+1)); err != nil {
			return err
		}
	}
	return nil
}

// waitNodes waits until every instance has registered as a node.
func (c *Cluster) waitNodes(ctx context.Context) error {
	return c.Eventually(ctx, "every instance has registered as a node", 4*time.Minute, func(ctx context.Context) error {
		nodes, err := c.Kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if ready := countReady(nodes.Items); ready < c.options.Workers {
			return fmt.Errorf("%d of %d nodes are ready", ready, c.options.Workers)
		}
		return nil
	})
}

func countReady(nodes []corev1.Node) int {
	ready := 0
	for i := range nodes {
		if NodeReady(&nodes[i]) == nil {
			ready++
		}
	}
	return ready
}

// NodeReady says why a node is not ready.
func NodeReady(node *corev1.Node) error {
	for _, condition := range node.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		if condition.Status == corev1.ConditionTrue {
			return nil
		}
		return fmt.Errorf("node %s is not ready: %s", node.Name, condition.Message)
	}
	return errors.New("node " + node.Name + " does not say whether it is ready")
}
