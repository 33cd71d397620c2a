package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/official"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

// Sidecars are the versions of the CSI controller's sidecars that the manifests have and that were tested. Older ones may not
// know all flags and fields.
var Sidecars = map[string]string{
	"csi-provisioner": "v6.4.0",
	"csi-attacher":    "v4.13.0",
	"csi-resizer":     "v2.3.0",
	"csi-snapshotter": "v8.4.0",
}

// snapshotter is the sidecar that a cluster without VolumeSnapshots does not have.
const snapshotter = "csi-snapshotter"

// program is a container of ours with the workload that it is in.
type program struct {
	kind, workload, container, what string
	product                         product
}

var programs = []program{
	{"Deployment", kube.CCM, "vultr-ccm", "the cloud controller manager", manager},
	{"Deployment", kube.CSIController, "csi-controller", "the CSI controller", driver},
	{"DaemonSet", kube.CSINode, "csi-node", "the CSI node plugin", driver},
}

const workloadCheck = "controllers"

// controllers checks what runs of ours, and what is left of the official programs.
func controllers(in Input) []report.Finding {
	if in.Workloads.Err != nil {
		return []report.Finding{unread(workloadCheck, "", in.Workloads.Err)}
	}
	all := in.Workloads.Value
	found := officials(all)
	for _, p := range programs {
		w := kube.Find(all, p.kind, p.workload)
		switch {
		case w == nil && replaced(all, p.workload) != nil:
			// The finding about the official one says it.
		case w == nil && leftOut(in, p.product):
			found = append(found, finding(report.OK, workloadCheck, fmt.Sprintf("%s %s/%s", p.kind, kube.System, p.workload), p.what+" is not installed, nor is a Secret for it", ""))
		case w == nil:
			found = append(found, finding(report.Error, workloadCheck, fmt.Sprintf("%s %s/%s", p.kind, kube.System, p.workload), p.what+" is not installed",
				"kubectl apply -k deploy/manifests (see docs/install.md)"))
		default:
			found = append(found, running(*w, p)...)
		}
	}
	found = append(found, versions(in)...)
	if w := kube.Find(all, "Deployment", kube.CSIController); w != nil {
		found = append(found, sidecars(*w)...)
	}
	return append(found, flagsOf(all)...)
}

// replaced returns a workload of the official programs, nil if there is none: they have our names, but another kind or image.
func replaced(all []kube.Workload, name string) *kube.Workload {
	i := slices.IndexFunc(all, func(w kube.Workload) bool {
		if w.Name != name {
			return false
		}
		kinds := map[string]string{kube.CCM: official.CCM.Kind, kube.CSIController: official.CSIController.Kind}
		return w.Kind == kinds[name] || slices.ContainsFunc(w.Containers, func(c v1.Container) bool { return official.IsImage(c.Image) })
	})
	if i < 0 {
		return nil
	}
	return &all[i]
}

// officials reports what is left of the official programs. Two controllers of one driver must never run at once.
func officials(all []kube.Workload) []report.Finding {
	var found []report.Finding
	for _, name := range []string{kube.CCM, kube.CSIController, kube.CSINode} {
		left := replaced(all, name)
		if left == nil {
			continue
		}
		severity, problem := report.Warning, "it is the official program's"
		if ours := kube.Find(all, "Deployment", name); ours != nil && ours != left {
			severity, problem = report.Error, "the official program is there beside ours: two controllers must never run at once"
		}
		found = append(found, finding(severity, "official", left.String(), problem, "docs/migrate.md has the order of the migration"))
	}
	return found
}

// running checks that the pods of a workload are ready.
func running(w kube.Workload, p program) []report.Finding {
	switch {
	case w.Container(p.container) == nil:
		return []report.Finding{finding(report.Warning, workloadCheck, w.String(), fmt.Sprintf("it has no container %q", p.container), "compare it with deploy/manifests")}
	case w.Ready == 0 && w.Wanted > 0:
		return []report.Finding{finding(report.Error, workloadCheck, w.String(), "none of its pods is ready", "kubectl -n kube-system get pods, and their logs")}
	case w.Ready < w.Wanted:
		return []report.Finding{finding(report.Warning, workloadCheck, w.String(), fmt.Sprintf("%d of %d pods are ready", w.Ready, w.Wanted), "kubectl -n kube-system get pods, and their logs")}
	}
	return []report.Finding{finding(report.OK, workloadCheck, w.String(), fmt.Sprintf("%d of %d pods are ready", w.Ready, w.Wanted), "")}
}

// versions reports programs of different releases: they are tested together.
func versions(in Input) []report.Finding {
	var tags, texts, pinned []string
	for _, p := range programs {
		w := kube.Find(in.Workloads.Value, p.kind, p.workload)
		if w == nil || w.Container(p.container) == nil {
			continue
		}
		tag := tagOf(w.Container(p.container).Image)
		if tag == "" {
			pinned = append(pinned, p.workload)
			continue
		}
		tags = append(tags, tag)
		texts = append(texts, p.workload+" "+tag)
	}
	const check = "versions"
	slices.Sort(tags)
	switch tags = slices.Compact(tags); {
	case len(tags) == 0 && len(pinned) == 0:
		return nil
	case len(tags) == 0:
		return []report.Finding{finding(report.OK, check, "", "the images are named by their digests, which do not tell the release", "")}
	case len(tags) > 1:
		return []report.Finding{finding(report.Warning, check, "", "the programs are of different releases: "+strings.Join(texts, ", "), "update all of them to one release")}
	case tags[0] != in.Version:
		return []report.Finding{finding(report.Warning, check, "", fmt.Sprintf("the programs are %s, this plugin is %s", tags[0], in.Version),
			"use the plugin of the programs' release: what it says of Services and volumes is by its own code")}
	}
	return []report.Finding{finding(report.OK, check, "", "all programs are "+tags[0]+except(pinned), "")}
}

// except names those whose images do not tell what they are.
func except(pinned []string) string {
	if len(pinned) == 0 {
		return ""
	}
	return "; not known by their digests: " + strings.Join(pinned, ", ")
}

// tagOf returns the tag of an image: "untagged" for one without, "" for one that is named by its digest alone, as in the manifests of
// a release.
func tagOf(image string) string {
	image, digest, _ := strings.Cut(image, "@")
	_, tag, tagged := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	switch {
	case tagged:
		return tag
	case digest != "":
		return ""
	}
	return "untagged"
}

func sidecars(w kube.Workload) []report.Finding {
	const check = "sidecars"
	var found []report.Finding
	var pinned []string
	for _, name := range slices.Sorted(maps.Keys(Sidecars)) {
		c := w.Container(name)
		switch {
		case c == nil && name == snapshotter:
		case c == nil:
			found = append(found, finding(report.Error, check, w.String(), "the sidecar "+name+" is missing", "apply deploy/manifests/csi again"))
		case older(tagOf(c.Image), Sidecars[name]):
			found = append(found, finding(report.Warning, check, w.String(), fmt.Sprintf("%s is %s, tested is %s", name, tagOf(c.Image), Sidecars[name]), "apply deploy/manifests/csi again"))
		case tagOf(c.Image) == "":
			pinned = append(pinned, name)
		}
	}
	if len(found) == 0 {
		found = append(found, finding(report.OK, check, w.String(), "the sidecars are of the tested versions or newer"+except(pinned), ""))
	}
	return found
}

// older reports whether a version is older than another one. What is not a version, such as a tag of somebody's own, is not older.
func older(version, than string) bool {
	a, b := numbers(version), numbers(than)
	if a == nil || b == nil {
		return false
	}
	return slices.Compare(a, b) < 0
}

// numbers returns the three numbers of a version such as v1.2.3, nil for another text.
func numbers(version string) []int {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	fields := strings.Split(version, ".")
	if len(fields) != 3 {
		return nil
	}
	var all []int
	for _, field := range fields {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	return all
}

// flagsOf checks what the flags of the controllers say.
func flagsOf(all []kube.Workload) []report.Finding {
	const check = "flags"
	settings, err := kube.SettingsOf(all)
	if err != nil {
		return []report.Finding{finding(report.Error, check, "", err.Error(), "correct the flag")}
	}
	if kube.Find(all, "Deployment", kube.CSIController) != nil && settings.Cluster == "" {
		return []report.Finding{finding(report.Warning, check, "Deployment "+kube.System+"/"+kube.CSIController, "--cluster-id is not set: nothing tells this cluster's volumes from those of others in the account, so orphaned ones are not found",
			"set it before the next volumes are made (docs/block-volumes.md)")}
	}
	return nil
}
