package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/box"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
)

const containerdSocket = "/run/containerd/containerd.sock"

// containerdConfig: without restrict_oom_score_adj no sandbox starts where
// CAP_SYS_RESOURCE is missing; the opt plugin would write below /opt.
const containerdConfig = `version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "` + containerdSocket + `"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "` + cache.PauseImage + `"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
`

// cniConfig joins pods to a bridge of the worker's own.
func cniConfig(subnet string) string {
	return `{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "` + subnet + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}
`
}

// startNode starts what makes the machine a node of the cluster.
func (m *machine) startNode(ctx context.Context) error {
	if err := m.writeNodeConfig(); err != nil {
		return err
	}
	dir := m.run.path(m.name)
	if _, err := m.client.RunProgram(ctx, box.Program{
		Argv:  []string{"sh", "-c", "mkdir -p /etc/cni/net.d && cat > /etc/cni/net.d/10-pods.conflist"},
		Stdin: cniConfig(podSubnet(m.instance.Address)),
	}); err != nil {
		return err
	}
	if err := m.program(ctx, "containerd", "containerd", "--config", filepath.Join(dir, "containerd.toml")); err != nil {
		return err
	}
	if err := m.waitContainerd(ctx); err != nil {
		return err
	}
	if err := m.importImages(ctx); err != nil {
		return err
	}
	if err := m.startKubelet(ctx, m.config.program("kubelet"),
		"--config="+filepath.Join(dir, "kubelet.yaml"), "--kubeconfig="+filepath.Join(dir, "kubelet.kubeconfig"),
		"--hostname-override="+m.instance.Label, "--node-ip="+m.instance.Address.String(),
		"--cloud-provider=external", "--root-dir=/var/lib/kubelet", "--v=2"); err != nil {
		return err
	}
	return m.program(ctx, "kube-proxy", m.config.program("kube-proxy"), "--config="+filepath.Join(dir, "kube-proxy.yaml"))
}

// hideShared takes the shared file systems that the cloud publishes out of a mount namespace.
const hideShared = "mount --make-rprivate " + cloudDisks + " && umount -l " + cloudDisks + ` && exec "$0" "$@"`

// startKubelet starts the kubelet where it sees shared file systems only where the driver mounts them, as on a real machine: it
// keeps a volume while it sees the same thing mounted in another place. What else is mounted, and will be, it
// shares with all of the machine.
func (m *machine) startKubelet(ctx context.Context, argv ...string) error {
	_, err := m.client.Start(ctx, box.Program{
		Name: "kubelet", Argv: append([]string{"sh", "-c", hideShared}, argv...), Cloneflags: syscall.CLONE_NEWNS,
		Log: m.run.path(m.name, "logs", "kubelet.log"),
	})
	return err
}

// program starts a program on the machine.
func (m *machine) program(ctx context.Context, name string, argv ...string) error {
	_, err := m.client.Start(ctx, box.Program{Name: name, Argv: argv, Log: m.run.path(m.name, "logs", name+".log")})
	return err
}

// waitContainerd waits until containerd serves the kubelet: one that asks earlier ends, and nothing starts it again. It listens
// before, while it looks for what ran when it was stopped.
func (m *machine) waitContainerd(ctx context.Context) error {
	conn, err := grpc.NewClient("passthrough:///containerd", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return m.client.Dial(ctx, "unix", containerdSocket)
		}))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	for {
		_, err := cri.NewRuntimeServiceClient(conn).Version(ctx, &cri.VersionRequest{}, grpc.WaitForReady(true))
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("containerd does not answer: %w: %w", ctx.Err(), err)
		case <-time.After(50 * time.Millisecond): // a poll of what another process does
		}
	}
}

// importImages loads what the machine does not have yet: all of them before the
// kubelet starts, so that it never finds one missing and backs off.
func (m *machine) importImages(ctx context.Context) error {
	for _, archive := range m.config.images() {
		done := m.run.path(m.name, "containerd", "imported-"+filepath.Base(archive))
		if _, err := os.Stat(done); err == nil {
			continue
		}
		if _, err := m.client.Run(ctx, "ctr", "--address", containerdSocket, "-n", "k8s.io", "images", "import", archive); err != nil {
			return err
		}
		if err := os.WriteFile(done, nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeNodeConfig makes the configuration of all programs of a node.
func (m *machine) writeNodeConfig() error {
	dir, ca := m.run.path(m.name), m.run.path("pki", "ca.crt")
	authority, err := loadAuthority(m.run.path("pki"))
	if err != nil {
		return err
	}
	for name, user := range map[string]struct{ name, group string }{
		"kubelet":    {"system:node:" + m.instance.Label, "system:nodes"},
		"kube-proxy": {"system:kube-proxy", ""},
	} {
		id, err := authority.issue(user.name, user.group)
		if err != nil {
			return err
		}
		if err := authority.kubeconfig(id, apiserverURL, filepath.Join(dir, name+".kubeconfig")); err != nil {
			return err
		}
	}
	caCopy, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	files := map[string]string{"containerd.toml": containerdConfig, "ca.crt": string(caCopy)}
	for name, config := range map[string]map[string]any{
		"kubelet.yaml": m.kubeletConfig(filepath.Join(dir, "ca.crt")), "kube-proxy.yaml": kubeProxyConfig(filepath.Join(dir, "kube-proxy.kubeconfig")),
	} {
		content, err := yaml.Marshal(config)
		if err != nil {
			return err
		}
		files[name] = string(content)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// kubeletConfig is a node's as on a real machine, but for the lines that say
// that the machine below is shared and has version 1 cgroups.
func (m *machine) kubeletConfig(ca string) map[string]any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": true},
			"x509": map[string]any{"clientCAFile": ca},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"clusterDNS":               []string{dnsAddress}, "clusterDomain": clusterDomain,
		"volumePluginDir": "/var/lib/kubelet/volumeplugins",
		"failCgroupV1":    false, "cgroupDriver": "cgroupfs",
		"cgroupRoot":             m.run.cgroup(m.name),
		"enforceNodeAllocatable": []string{}, "evictionHard": map[string]string{},
		"imageGCHighThresholdPercent": 100, "failSwapOn": false,
		// As docs/node-plugin.md advises: no pod comes before the driver can say how many volumes the node can have.
		"registerWithTaints": []map[string]string{{"key": StartUpTaint, "effect": "NoExecute"}},
		"featureGates":       map[string]bool{volumeHealth: true},
	}
}

// volumeHealth is the feature gate by which a kubelet asks drivers for the health of volumes; it is alpha.
const volumeHealth = "CSIVolumeHealth"

// StartUpTaint is the key of the taint with which workers register.
const StartUpTaint = "block.csi.vultr.com/agent-not-ready"

func kubeProxyConfig(kubeconfig string) map[string]any {
	return map[string]any{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
		"clientConnection": map[string]any{"kubeconfig": kubeconfig},
		"mode":             "iptables", "clusterCIDR": podRange,
		// Its setting is a sysctl of the whole machine.
		"conntrack": map[string]any{"maxPerCore": 0},
	}
}
