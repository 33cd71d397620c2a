package deploy

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/startuptaint"
)

// get is an HTTP probe without its figures.
func get(host, port, path string) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: host, Port: intstr.FromString(port), Path: path}}
}

// liveness is the probe for what a restart heals: within a minute.
func liveness(host string) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: get(host, "driver", "/healthz"), InitialDelaySeconds: 10, PeriodSeconds: 20, TimeoutSeconds: 10, FailureThreshold: 3}
}

// readiness is the probe for what a restart does not heal.
func readiness(host string) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: get(host, "driver", "/readyz"), PeriodSeconds: 10, TimeoutSeconds: 10, FailureThreshold: 2}
}

// restricted is the security context of all containers but the node's.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

func requests(memoryLimit string) corev1.ResourceRequirements {
	r := corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
	}}
	if memoryLimit != "" {
		r.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memoryLimit)}
	}
	return r
}

var accountMount = corev1.VolumeMount{Name: "account", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}

// TestCSIControllerPod holds everything of the controller's pod but its containers.
func TestCSIControllerPod(t *testing.T) {
	spec := named[*appsv1.Deployment](t, load(t, csiDir), "csi-vultr-controller").Spec.Template.Spec
	same(t, "containers", []string{"csi-attacher", "csi-controller", "csi-provisioner", "csi-resizer"}, names(spec.Containers))
	spec.Containers = nil
	app := map[string]string{"app": "csi-vultr-controller"}
	lost := func(key string) corev1.Toleration {
		return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(60))}
	}
	want := corev1.PodSpec{
		ServiceAccountName:            "csi-vultr-controller-sa",
		AutomountServiceAccountToken:  new(false),
		PriorityClassName:             "system-cluster-critical",
		TerminationGracePeriodSeconds: new(int64(40)),
		NodeSelector:                  map[string]string{"kubernetes.io/os": "linux"},
		Tolerations: []corev1.Toleration{
			{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
			{Key: "CriticalAddonsOnly", Operator: corev1.TolerationOpExists},
			{Key: startuptaint.Key, Operator: corev1.TolerationOpExists},
			lost("node.kubernetes.io/not-ready"), lost("node.kubernetes.io/unreachable"),
		},
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: "kubernetes.io/hostname", WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: selecting(app),
		}},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), RunAsGroup: new(int64(65532)), FSGroup: new(int64(65532)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: []corev1.Volume{
			{Name: "socket", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "api-key", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: "vultr-csi", DefaultMode: new(int32(0o440)), Items: []corev1.KeyToPath{{Key: "api-key", Path: "api-key"}},
			}}},
			{Name: "account", VolumeSource: corev1.VolumeSource{Projected: account()}},
		},
	}
	same(t, "the controller's pod", want, spec)
}

// account is what the kubelet would mount into every container by itself.
func account() *corev1.ProjectedVolumeSource {
	return &corev1.ProjectedVolumeSource{DefaultMode: new(int32(0o440)), Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(3607))}},
		{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
		}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}},
		}}},
	}}
}

func TestCSIControllerContainer(t *testing.T) {
	spec := named[*appsv1.Deployment](t, load(t, csiDir), "csi-vultr-controller").Spec.Template.Spec
	got := *container(t, &spec, "csi-controller")
	same(t, "csi-controller", corev1.Container{
		Name: "csi-controller", Image: got.Image, TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Args: []string{
			"--mode=controller", "--endpoint=unix:///csi/csi.sock", "--api-key-file=/etc/vultr/api-key", "--http-endpoint=:9808", "--v=2",
		},
		Env:             []corev1.EnvVar{fieldOf("NODE_NAME", "spec.nodeName")},
		Ports:           []corev1.ContainerPort{{Name: "driver", ContainerPort: 9808}},
		LivenessProbe:   liveness(""),
		ReadinessProbe:  readiness(""),
		Resources:       requests("256Mi"),
		SecurityContext: restricted(),
		VolumeMounts: []corev1.VolumeMount{
			{Name: "socket", MountPath: "/csi"}, {Name: "api-key", MountPath: "/etc/vultr", ReadOnly: true}, accountMount,
		},
	}, got)
}

// TestCSISidecars holds each sidecar. Its liveness is its lease; until it serves that it waits for the driver, for as
// long as it takes: a key that is refused must not end in restarts. Arguments and rights are those of the versions.
func TestCSISidecars(t *testing.T) {
	spec := named[*appsv1.Deployment](t, load(t, csiDir), "csi-vultr-controller").Spec.Template.Spec
	retry := []string{"--retry-interval-start=1s", "--retry-interval-max=30s"}
	lease := []string{
		"--kube-api-qps=20", "--kube-api-burst=40", "--leader-election=true", "--leader-election-lease-duration=20s",
		"--leader-election-renew-deadline=12s", "--leader-election-retry-period=3s",
	}
	for _, c := range []struct {
		name, version, port string
		number              int32
		args                [][]string
		env                 []corev1.EnvVar
	}{
		{"csi-provisioner", "v6.4.0", "provisioner", 9809, [][]string{
			{"--csi-address=/csi/csi.sock", "--timeout=120s", "--worker-threads=50"},
			retry,
			{
				"--volume-name-prefix=pvc", "--default-fstype=ext4", "--extra-create-metadata=true", "--strict-topology=true",
				"--immediate-topology=true", "--enable-capacity=true", "--capacity-poll-interval=5m", "--capacity-ownerref-level=2",
				"--snapshot-orphan-sweep-interval=30s",
			},
			lease,
			{"--http-endpoint=:9809", "--v=2"},
		}, []corev1.EnvVar{fieldOf("NAMESPACE", "metadata.namespace"), fieldOf("POD_NAME", "metadata.name")}},
		{"csi-attacher", "v4.13.0", "attacher", 9810, [][]string{
			{"--csi-address=/csi/csi.sock", "--timeout=120s", "--worker-threads=50"},
			retry,
			{"--reconcile-sync=10m", "--default-fstype=ext4"},
			lease,
			{"--http-endpoint=:9810", "--v=2"},
		}, nil},
		{"csi-resizer", "v2.3.0", "resizer", 9811, [][]string{
			{"--csi-address=/csi/csi.sock", "--resize-timeout=120s", "--workers=20"},
			retry,
			{"--handle-volume-inuse-error=false"},
			lease,
			{"--http-endpoint=:9811", "--v=2"},
		}, nil},
	} {
		got := *container(t, &spec, c.name)
		var args []string
		for _, some := range c.args {
			args = append(args, some...)
		}
		probe := get("", c.port, "/healthz/leader-election")
		same(t, c.name, corev1.Container{
			Name: c.name, Image: "registry.k8s.io/sig-storage/" + c.name + ":" + c.version, Args: args, Env: c.env,
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			Ports:                    []corev1.ContainerPort{{Name: c.port, ContainerPort: c.number}},
			StartupProbe:             &corev1.Probe{ProbeHandler: probe, PeriodSeconds: 10, TimeoutSeconds: 10, FailureThreshold: 1000000},
			LivenessProbe:            &corev1.Probe{ProbeHandler: probe, PeriodSeconds: 20, TimeoutSeconds: 10, FailureThreshold: 2},
			Resources:                requests("256Mi"),
			SecurityContext:          restricted(),
			VolumeMounts:             []corev1.VolumeMount{{Name: "socket", MountPath: "/csi"}, accountMount},
		}, got)
	}
}

// fieldOf is a variable with a field of the pod.
func fieldOf(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

// TestCSINodePod holds everything of the node's pod but its container.
func TestCSINodePod(t *testing.T) {
	spec := named[*appsv1.DaemonSet](t, load(t, csiDir), "csi-vultr-node").Spec.Template.Spec
	same(t, "containers", []string{"csi-node"}, names(spec.Containers))
	spec.Containers = nil
	create, present := corev1.HostPathDirectoryOrCreate, corev1.HostPathDirectory
	host := func(name, path string, kind *corev1.HostPathType) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: kind}}}
	}
	same(t, "the node's pod", corev1.PodSpec{
		ServiceAccountName:            "csi-vultr-node-sa",
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		PriorityClassName:             "system-node-critical",
		TerminationGracePeriodSeconds: new(int64(300)),
		Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		NodeSelector:                  map[string]string{"kubernetes.io/os": "linux"},
		HostNetwork:                   true,
		DNSPolicy:                     corev1.DNSDefault,
		Volumes: []corev1.Volume{
			host("plugin", "/var/lib/kubelet/plugins/block.csi.vultr.com", &create),
			host("registration", "/var/lib/kubelet/plugins_registry", &create),
			// Made by the kubelet, or not the kubelet's directory.
			host("kubelet", "/var/lib/kubelet", &present),
			host("devices", "/dev", &present),
			{Name: "account", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				DefaultMode: new(int32(0o400)), Sources: account().Sources[:2],
			}}},
		},
	}, spec)
}

func TestCSINodeContainer(t *testing.T) {
	spec := named[*appsv1.DaemonSet](t, load(t, csiDir), "csi-vultr-node").Spec.Template.Spec
	got := *container(t, &spec, "csi-node")
	both := corev1.MountPropagationBidirectional
	same(t, "csi-node", corev1.Container{
		Name: "csi-node", Image: got.Image, TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Args: []string{
			"--mode=node", "--endpoint=unix:///csi/csi.sock", "--plugin-registration-dir=/registration", "--kubelet-root=$(KUBELET_ROOT)",
			"--kubelet-registration-path=$(KUBELET_ROOT)/plugins/block.csi.vultr.com/csi.sock", "--state-dir=/csi/state",
			"--device-dir=$(DEVICE_DIR)", "--sysfs-block-dir=$(SYSFS_BLOCK_DIR)", "--http-endpoint=127.0.0.1:9808", "--v=2",
		},
		Env: []corev1.EnvVar{
			fieldOf("NODE_NAME", "spec.nodeName"),
			{Name: "KUBELET_ROOT", Value: "/var/lib/kubelet"},
			{Name: "DEVICE_DIR", Value: "/dev"},
			{Name: "SYSFS_BLOCK_DIR", Value: "/sys/class/block"},
		},
		Ports: []corev1.ContainerPort{{Name: "driver", ContainerPort: 9808, HostIP: "127.0.0.1", HostPort: 9808}},
		// The path is that of the program in the image (Makefile, Dockerfile).
		Lifecycle:      &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/vultr-csi", "--mode=pre-stop", "--pre-stop-timeout=240s"}}}},
		LivenessProbe:  liveness("127.0.0.1"),
		ReadinessProbe: readiness("127.0.0.1"),
		Resources:      requests(""),
		SecurityContext: &corev1.SecurityContext{
			Privileged: new(true), RunAsUser: new(int64(0)), ReadOnlyRootFilesystem: new(true),
		},
		TerminationMessagePath: "/termination-log",
		VolumeMounts: []corev1.VolumeMount{
			{Name: "plugin", MountPath: "/csi"},
			{Name: "registration", MountPath: "/registration"},
			{Name: "kubelet", MountPath: "/var/lib/kubelet", MountPropagation: &both},
			{Name: "devices", MountPath: "/dev"},
			accountMount,
		},
	}, got)
}
