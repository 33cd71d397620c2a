package deploy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/lint"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

// parameters are those of a StorageClass.
type parameters map[string]string

// with returns all combinations of sets of parameters with the values that a further one can have, "" is none.
func with(all []parameters, key string, values ...string) []parameters {
	var more []parameters
	for _, p := range all {
		for _, value := range values {
			q := maps.Clone(p)
			if value != "" {
				q[key] = value
			}
			more = append(more, q)
		}
	}
	return more
}

const stageSecret = "csi.storage.k8s.io/node-stage-secret-"

// combinations are classes of which some are possible and some are not: each value is one that the schema takes.
func combinations() []parameters {
	empty := []parameters{{}}
	kinds := with(with(with(empty, params.StorageType, "", "block", "vfs"), params.DiskType, "", "nvme", "hdd"), params.BlockType, "", "high_perf", "storage_opt")
	all := slices.Clone(kinds)
	for _, p := range params.Table {
		if !p.ForNode {
			continue
		}
		value := "4096" // a number that all take which are numbers
		if len(p.Values) > 0 {
			value = p.Values[len(p.Values)-1].Text
		}
		all = append(all, with(with(kinds, p.Key, value), stageSecret+"name", "", "vultr-encryption")...)
	}
	for _, p := range params.Table {
		if p.Range == (params.Range{}) {
			continue
		}
		numbers := []string{"007", "99999999999999999999"}
		for _, n := range []int64{p.Range.Min - 1, p.Range.Min, p.Range.Max, p.Range.Max + 1} {
			if n >= 0 { // the schema has no signs
				numbers = append(numbers, fmt.Sprint(n))
			}
		}
		all = append(all, with(with(with(empty, params.FSType, "", "ext4", "xfs", "btrfs"), params.BlockSize, "", "1024"), p.Key, numbers...)...)
	}
	systems := with(with(empty, params.FSType, "", "ext4", "xfs", "btrfs"), "fsType", "", "xfs")
	formats := with(with(systems, params.BlockSize, "", "1024", "2048", "4096"), params.InodeSize, "", "256", "512", "1024", "2048")
	all = append(all, with(formats, params.BytesPerInode, "", "1024", "2048", "4095", "4096")...)
	for _, p := range all {
		// The provisioner refuses one without the other, which TestChartRefuses has.
		if p[stageSecret+"name"] != "" {
			p[stageSecret+"namespace"] = "kube-system"
		}
	}
	return all
}

// impossible returns why no claim of a class gets a volume, by the driver's own judgement; "" if one gets it.
func impossible(p parameters) string {
	grows, name := true, "class"
	class := storagev1.StorageClass{Provisioner: "block.csi.vultr.com", Parameters: p, AllowVolumeExpansion: &grows}
	class.Name = name
	claim := corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: &name, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("100Gi")}},
	}}
	where := lint.InCluster("StorageClass", "", name)
	findings := append(lint.StorageClass(where, &class), lint.Claim(where, &claim, lint.Context{Classes: []storagev1.StorageClass{class}})...)
	for _, f := range findings {
		if f.Severity == report.Error {
			return f.Problem
		}
	}
	return ""
}

// TestChartRefusesImpossibleClasses: the chart and the driver judge parameters alike, those by themselves and those together.
func TestChartRefusesImpossibleClasses(t *testing.T) {
	classes, reasons := map[string]any{}, map[string]string{}
	for i, p := range combinations() {
		name := fmt.Sprintf("c%04d", i)
		classes[name], reasons[name] = map[string]any{"parameters": p}, impossible(p)
	}
	values := func() string {
		text, err := yaml.Marshal(map[string]any{"csi": map[string]any{"storageClasses": classes}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	said := refused(t, values())
	faults := map[string]string{}
	for _, match := range regexp.MustCompile(`csi\.storageClasses\.(c\d{4})\.parameters: (.*)`).FindAllStringSubmatch(said, -1) {
		faults[match[1]] = match[2]
	}
	possible := 0
	for name, reason := range reasons {
		if (reason == "") != (faults[name] == "") {
			t.Errorf("%v: the driver says %q, the chart %q", classes[name], reason, faults[name])
		}
		if reason == "" {
			possible++
		} else {
			delete(classes, name)
		}
	}
	if possible < 100 || len(reasons)-possible < 100 {
		t.Errorf("of %d classes %d are possible", len(reasons), possible)
	}
	if t.Failed() {
		return
	}
	made := 0
	for _, o := range rendered(t, values()) {
		if class, ok := o.Object.(*storagev1.StorageClass); ok && strings.HasPrefix(class.Name, "c0") {
			made++
		}
	}
	if made == 0 {
		t.Error("no class is made")
	}
}
