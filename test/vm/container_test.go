package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
)

// imageSerial is that of the disk with the node plugin's image.
const imageSerial = "image"

// shippedContainer is the container that a kubelet makes of the node plugin's manifest, as far as runc has to know. What the
// guest has not, which is a cloud and a cluster, is replaced by more arguments.
func shippedContainer(t *testing.T, more ...string) agent.Container {
	t.Helper()
	set := shippedDaemonSet(t)
	pod := set.Spec.Template.Spec
	if len(pod.Containers) != 1 || !pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Fatalf("the pod of the node plugin is another one now, and this makes no container of it: %+v", pod)
	}
	c := pod.Containers[0]
	if s := c.SecurityContext; s == nil || s.Privileged == nil || !*s.Privileged || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		t.Fatalf("the container has the security context %+v, and this makes a privileged one with a read-only root", s)
	}
	environment, values := environmentOf(c)
	args := []any{"/vultr-csi"} // the image's entrypoint
	for _, a := range append(c.Args, more...) {
		args = append(args, expanded(a, values))
	}
	mounts, directories := mountsOf(t, pod, c)
	config, err := json.Marshal(map[string]any{
		"ociVersion": "1.0.2",
		"process": map[string]any{
			"user": map[string]any{"uid": 0, "gid": 0}, "cwd": "/", "args": args, "env": environment,
			"capabilities": map[string]any{"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
		},
		"root":   map[string]any{"path": "rootfs", "readonly": true},
		"mounts": mounts,
		"linux": map[string]any{
			"cgroupsPath": "/" + agent.ContainerName,
			// As the container of a pod that has the node's network, and is privileged.
			"namespaces": []any{map[string]any{"type": "pid"}, map[string]any{"type": "ipc"}, map[string]any{"type": "mount"}},
			"resources":  map[string]any{"devices": []any{map[string]any{"allow": true, "access": "rwm"}}},
			// What Bidirectional needs.
			"rootfsPropagation": "rshared",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return agent.Container{Image: imageSerial, Config: config, Directories: directories}
}

// shippedDaemonSet reads the node plugin's manifest.
func shippedDaemonSet(t *testing.T) appsv1.DaemonSet {
	t.Helper()
	raw, err := os.ReadFile("../../deploy/manifests/csi/node.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(raw), "\n---\n") {
		var set appsv1.DaemonSet
		if err := yaml.Unmarshal([]byte(document), &set); err == nil && set.Kind == "DaemonSet" {
			return set
		}
	}
	t.Fatal("node.yaml has no DaemonSet")
	return appsv1.DaemonSet{}
}

// capabilities are all that a privileged container has, up to the newest that Debian's kernel knows.
var capabilities = func() []any {
	var all []any
	for name := range strings.FieldsSeq(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
		NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
		SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
		MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`) {
		all = append(all, "CAP_"+name)
	}
	return all
}()

// environmentOf returns the environment for runc, and by name.
func environmentOf(c corev1.Container) ([]string, map[string]string) {
	all := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} // the image's
	values := map[string]string{}
	for _, e := range c.Env {
		values[e.Name] = e.Value
		if e.ValueFrom != nil {
			values[e.Name] = "guest" // a field of the pod
		}
		all = append(all, e.Name+"="+values[e.Name])
	}
	return all, values
}

// expanded replaces variables in an argument, as a kubelet does.
func expanded(argument string, values map[string]string) string {
	return regexp.MustCompile(`\$\(\w+\)`).ReplaceAllStringFunc(argument, func(variable string) string {
		if value, ok := values[variable[2:len(variable)-1]]; ok {
			return value
		}
		return variable
	})
}

// propagation is what a volume mount's propagation is for the kernel.
var propagation = map[corev1.MountPropagationMode]string{
	"": "rprivate", corev1.MountPropagationNone: "rprivate", corev1.MountPropagationHostToContainer: "rslave", corev1.MountPropagationBidirectional: "rshared",
}

// mountsOf returns the container's mounts, and the directories of the node that have to be there for them.
func mountsOf(t *testing.T, pod corev1.PodSpec, c corev1.Container) (mounts []any, directories []string) {
	t.Helper()
	mount := func(fsType, source, path string, options ...string) {
		mounts = append(mounts, map[string]any{"type": fsType, "source": source, "destination": path, "options": options})
	}
	mount("proc", "proc", "/proc", "nosuid", "noexec", "nodev")
	mount("sysfs", "sysfs", "/sys", "nosuid", "noexec", "nodev", "rw")
	mount("cgroup", "cgroup", "/sys/fs/cgroup", "nosuid", "noexec", "nodev", "relatime", "ro")
	hosts := map[string]string{}
	for _, v := range pod.Volumes {
		switch {
		case v.HostPath != nil:
			hosts[v.Name] = v.HostPath.Path
		case v.Projected != nil: // which the kubelet makes, below its own directory
			hosts[v.Name] = filepath.Join("/var/lib/kubelet/pods/plugin/volumes", v.Name)
		default:
			t.Fatalf("volume %s is of a kind that this does not know: %+v", v.Name, v)
		}
	}
	for _, m := range c.VolumeMounts {
		mode := corev1.MountPropagationNone
		if m.MountPropagation != nil {
			mode = *m.MountPropagation
		}
		access := "rw"
		if m.ReadOnly {
			access = "ro"
		}
		host, ok := hosts[m.Name]
		if !ok {
			t.Fatalf("volume mount %s is of no volume", m.Name)
		}
		mount("bind", host, m.MountPath, "rbind", propagation[mode], access)
		if host != "/dev" {
			directories = append(directories, host)
		}
	}
	return mounts, directories
}

// TestShippedContainer: of the manifest comes what runc understands: arguments without variables, the kubelet's directory in
// both directions, the node's devices, and a root that nobody writes to.
func TestShippedContainer(t *testing.T) {
	c := shippedContainer(t, "--more")
	var config struct {
		Process struct{ Args, Env []string }
		Root    struct{ Readonly bool }
		Mounts  []struct {
			Destination, Source, Type string
			Options                   []string
		}
	}
	if err := json.Unmarshal(c.Config, &config); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(config)
	for _, want := range []string{
		"/vultr-csi --mode=node", "--kubelet-root=/var/lib/kubelet ", "--more] [PATH=", "{/var/lib/kubelet /var/lib/kubelet bind [rbind rshared rw]}",
		"{/dev /dev bind [rbind rprivate rw]}",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	if strings.Contains(text, "$(") || !config.Root.Readonly {
		t.Errorf("a variable is left, or the root is writable: %s", text)
	}
}
