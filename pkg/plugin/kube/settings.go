package kube

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/config"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
)

// Flags of the controllers, without dashes.
const (
	clusterFlag  = "cluster-id"
	fileFlag     = "cloud-config"
	defaultsFlag = "vultr-load-balancer-default"
	proxyFlag    = "vultr-kube-proxy-health-port"
)

// Settings are what the flags of the running controllers say, and the file that --cloud-config names.
type Settings struct {
	// Cluster is the ID in the labels of new volumes, "" for none.
	Cluster ownership.Cluster
	// Defaults are the values of annotations that Services do not state.
	Defaults settings.Defaults
	// KubeProxyPort is where kube-proxy answers on the nodes, 0 for its usual port.
	KubeProxyPort int
	// Unread is why the file's settings are not among these, nil if they are or there is no file.
	Unread error
}

// Settings reads the flags of the controllers and the file that the cloud controller manager reads.
func (c *Cluster) Settings(ctx context.Context, all []Workload) (Settings, error) {
	text, from, unread := c.cloudConfig(ctx, all)
	var file []config.Value
	if text != "" {
		var faults []config.Fault
		if file, faults = config.Parse([]byte(text)); len(faults) > 0 {
			errs := make([]error, 0, len(faults))
			for _, fault := range faults {
				errs = append(errs, errors.New(fault.In(from)))
			}
			return Settings{}, errors.Join(errs...)
		}
	}
	s, err := SettingsOf(all, file...)
	s.Unread = unread
	return s, err
}

// cloudConfig returns the file that the cloud controller manager reads, and where that is from.
func (c *Cluster) cloudConfig(ctx context.Context, all []Workload) (text, from string, unread error) {
	w := Find(all, "Deployment", CCM)
	if w == nil {
		return "", "", nil
	}
	container := w.Container(CCM)
	file := lastOf(flags(container, fileFlag))
	if file == "" {
		return "", "", nil
	}
	name, key := w.configMapAt(container, file)
	if name == "" {
		return "", "", fmt.Errorf("the settings in %s, which %s reads by --%s, are not known: it is in no ConfigMap", file, w, fileFlag)
	}
	from = fmt.Sprintf("ConfigMap %s/%s, %s", System, name, key)
	found, err := c.Client.CoreV1().ConfigMaps(System).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", "", fmt.Errorf("the settings in %s, which %s reads by --%s, are not known: %w", file, w, fileFlag, failed(from, err))
	}
	text, there := found.Data[key]
	if !there {
		return "", "", fmt.Errorf("the settings in %s, which %s reads by --%s, are not known: ConfigMap %s/%s has no %s", file, w, fileFlag, System, name, key)
	}
	return text, from, nil
}

// configMapAt returns the ConfigMap, and the key in it, by which a container has the file at a path; "" for one that it has by
// something else.
func (w Workload) configMapAt(c *v1.Container, file string) (name, key string) {
	volume, at := w.mountedAt(c, file)
	if volume == nil || volume.ConfigMap == nil {
		return "", at
	}
	return volume.ConfigMap.Name, keyAt(volume.ConfigMap.Items, at)
}

// mountedAt returns the volume by which a container has the file at a path, nil for none, and the path of the file in it.
func (w Workload) mountedAt(c *v1.Container, file string) (volume *v1.Volume, at string) {
	deepest := ""
	for _, m := range c.VolumeMounts {
		below, inside := strings.CutPrefix(file, strings.TrimSuffix(m.MountPath, "/")+"/")
		if file == m.MountPath { // of the one file
			below, inside = "", true
		}
		if !inside || len(m.MountPath) < len(deepest) {
			continue
		}
		deepest, volume, at = m.MountPath, nil, path.Join(m.SubPath, below)
		if i := slices.IndexFunc(w.Volumes, func(v v1.Volume) bool { return v.Name == m.Name }); i >= 0 {
			volume = &w.Volumes[i]
		}
	}
	return volume, at
}

// SettingsOf reads the flags of the controllers, and what is in the cloud controller manager's file. One that does not run says
// nothing.
func SettingsOf(all []Workload, file ...config.Value) (Settings, error) {
	var s Settings
	var faults []error
	if w := Find(all, "Deployment", CSIController); w != nil {
		s.Cluster = ownership.Cluster(lastOf(flags(w.Container("csi-controller"), clusterFlag)))
		if err := s.Cluster.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("--%s of %s: %w", clusterFlag, w, err))
		}
	}
	if w := Find(all, "Deployment", CCM); w != nil {
		faults = append(faults, s.ofCCM(*w, file)...)
	}
	return s, errors.Join(faults...)
}

// ofCCM reads the settings of the cloud controller manager: flags count more than the file, of pairs each by its name.
func (s *Settings) ofCCM(w Workload, file []config.Value) (faults []error) {
	said := map[string][]string{}
	for _, value := range file {
		said[value.Flag] = append(said[value.Flag], value.Text)
	}
	for _, flag := range []string{defaultsFlag, proxyFlag} {
		said[flag] = append(said[flag], flags(w.Container(CCM), flag)...)
	}
	values := map[string]string{}
	for _, text := range said[defaultsFlag] {
		name, value, _ := strings.Cut(text, "=")
		values[strings.TrimPrefix(name, settings.Prefix)] = value
	}
	var err error
	if s.Defaults, err = settings.ParseDefaults(values); err != nil {
		faults = append(faults, fmt.Errorf("--%s of %s: %w", defaultsFlag, w, err))
	}
	if port := lastOf(said[proxyFlag]); port != "" {
		if s.KubeProxyPort, err = strconv.Atoi(port); err != nil {
			faults = append(faults, fmt.Errorf("--%s of %s: %q is not a port", proxyFlag, w, port))
		}
	}
	return faults
}

// flags returns the values that a container's arguments have for a flag, in either of its two forms. The last one counts
// where one is meant.
func flags(c *v1.Container, name string) []string {
	if c == nil {
		return nil
	}
	var values []string
	args := slices.Concat(c.Command, c.Args)
	for i, arg := range args {
		value, is := strings.CutPrefix(arg, "--"+name+"=")
		if !is && arg == "--"+name && i+1 < len(args) {
			value, is = args[i+1], true
		}
		if is {
			values = append(values, value)
		}
	}
	return values
}

func lastOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}
