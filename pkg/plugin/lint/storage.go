package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/identity"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/vfsstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// reserved begins the parameters that the provisioner keeps for itself: it hands none of them on, and refuses a class
	// with one that it does not know.
	reserved = "csi.storage.k8s.io/"
	// stageSecret and expandSecret name the Secret with the passphrase of an encrypted volume.
	stageSecret  = reserved + "node-stage-secret-name"
	expandSecret = reserved + "node-expand-secret-name"
)

// provisioners are the reserved parameters that the provisioner knows, without the prefix (external-provisioner,
// pkg/controller/controller.go).
var provisioners = []string{
	"fstype",
	"provisioner-secret-name", "provisioner-secret-namespace",
	"controller-publish-secret-name", "controller-publish-secret-namespace",
	"node-stage-secret-name", "node-stage-secret-namespace",
	"node-publish-secret-name", "node-publish-secret-namespace",
	"controller-expand-secret-name", "controller-expand-secret-namespace",
	"node-expand-secret-name", "node-expand-secret-namespace",
}

// StorageClass says what the CSI driver would say about the claims of a class, none of which would get a volume.
func StorageClass(where Where, class *storagev1.StorageClass) []report.Finding {
	if class.Provisioner != identity.DriverName {
		return nil
	}
	var findings []report.Finding
	add := func(severity report.Severity, key, problem, remedy string, path ...string) {
		findings = append(findings, where.finding(severity, checkClass, key, problem, remedy, path...))
	}
	parameters, unknown := drivers(class.Parameters)
	for _, key := range unknown {
		add(report.Error, key, "is reserved for the provisioner, which does not know it", "correct or remove it; a class is replaced, not changed", "parameters", key)
	}
	p, faults := params.Judge(parameters, "")
	for _, fault := range faults {
		key := quoted(fault, parameters)
		add(report.Error, key, fault, "no claim of the class would get a volume; a class is replaced, not changed ("+reference("block-volumes.md")+")", "parameters", key)
	}
	for _, warning := range p.Warnings {
		add(report.Warning, warning.Key, warning.Text, "", "parameters", warning.Key)
	}
	if p.Encryption != "" && class.Parameters[stageSecret] == "" {
		add(report.Error, params.Encryption, "the volumes are to be encrypted, but no Secret with the passphrase is named",
			"name it by "+stageSecret+" ("+reference("encryption.md")+")", "parameters", params.Encryption)
	}
	grows := class.AllowVolumeExpansion != nil && *class.AllowVolumeExpansion
	if p.Encryption != "" && grows && class.Parameters[expandSecret] == "" {
		add(report.Warning, params.Encryption, "encrypted volumes cannot grow without the passphrase",
			"name its Secret by "+expandSecret+" too ("+reference("encryption.md")+")", "parameters", params.Encryption)
	}
	if !grows {
		add(report.Warning, "allowVolumeExpansion", "volumes of the class can never grow", "set allowVolumeExpansion: true", "allowVolumeExpansion")
	}
	return append(findings, topologies(where, class)...)
}

// drivers returns the parameters that reach the driver, and the reserved ones that nobody knows.
func drivers(parameters map[string]string) (reach map[string]string, unknown []string) {
	reach = maps.Clone(parameters)
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		name, is := strings.CutPrefix(key, reserved)
		switch {
		case !is || key == params.FSType:
		case !slices.Contains(provisioners, name):
			unknown = append(unknown, key)
			delete(reach, key)
		default:
			delete(reach, key)
		}
	}
	return reach, unknown
}

// quoted returns the parameter that a sentence names first, "" if it names none.
func quoted(sentence string, parameters map[string]string) string {
	best, at := "", len(sentence)
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		if i := strings.Index(sentence, fmt.Sprintf("%q", key)); i >= 0 && i < at {
			best, at = key, i
		}
	}
	return best
}

// topologies reports what keeps the pods of a class from being scheduled.
func topologies(where Where, class *storagev1.StorageClass) []report.Finding {
	if class.VolumeBindingMode == nil || *class.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer {
		return nil
	}
	var findings []report.Finding
	for _, term := range class.AllowedTopologies {
		for _, expression := range term.MatchLabelExpressions {
			if expression.Key == topology.OfficialKey {
				findings = append(findings, where.finding(report.Warning, checkClass, "allowedTopologies",
					fmt.Sprintf("nodes have the label %q for the scheduler only with --report-official-region; without it no pod with such a claim is scheduled", topology.OfficialKey),
					"use "+topology.Key+" with the region in lower case ("+reference("migrate.md")+")", "allowedTopologies"))
			}
		}
	}
	return findings
}

// Claim says whether the CSI driver could make the volume that a claim asks for.
func Claim(where Where, claim *v1.PersistentVolumeClaim, c Context) []report.Finding {
	class := c.class(claim.Spec.StorageClassName)
	if class == nil || class.Provisioner != identity.DriverName || claim.Spec.VolumeName != "" {
		return nil // unknown, another driver's, or bound to a volume that exists
	}
	parameters, _ := drivers(class.Parameters)
	p, faults := params.Judge(parameters, "")
	if len(faults) > 0 {
		return []report.Finding{where.finding(report.Error, checkClaim, "", fmt.Sprintf("its StorageClass %s is faulty, so it gets no volume", class.Name),
			"correct the class", "spec", "storageClassName")}
	}
	request := volume.Request{Type: p.Type, Accesses: accesses(claim, class, p), Capacity: volume.Capacity{
		Required: claim.Spec.Resources.Requests.Storage().Value(), Limit: claim.Spec.Resources.Limits.Storage().Value(),
	}}
	// Plan uses nothing of its store.
	planOf := (&blockstore.Store{}).Plan
	if p.Kind == volume.VFS {
		planOf = (&vfsstore.Store{}).Plan
	}
	if _, err := planOf(request); err != nil {
		path := []string{"spec", "resources"}
		if volume.ReasonOf(err) == volume.Invalid {
			path = []string{"spec", "accessModes"}
		}
		return []report.Finding{where.finding(report.Error, checkClaim, "", err.Error(),
			"change the claim, or name a class that can serve it ("+reference("block-volumes.md")+")", path...)}
	}
	// With ReadWriteMany the others do not matter to the attacher.
	has := func(mode v1.PersistentVolumeAccessMode) bool { return slices.Contains(claim.Spec.AccessModes, mode) }
	if has(v1.ReadWriteOnce) && has(v1.ReadOnlyMany) && !has(v1.ReadWriteMany) {
		return []report.Finding{where.finding(report.Error, checkClaim, "", "it gets a volume, and Kubernetes' attacher refuses to attach one with both ReadWriteOnce and ReadOnlyMany",
			"ask for one of the two, or for ReadWriteMany ("+reference("shared-file-systems.md")+")", "spec", "accessModes")}
	}
	return nil
}

// modes are the access modes of claims in CSI's words, as the provisioner puts them.
var modes = map[v1.PersistentVolumeAccessMode]volume.AccessMode{
	v1.ReadWriteOnce:    volume.SingleNodeMultiWriter,
	v1.ReadWriteOncePod: volume.SingleNodeSingleWriter,
	v1.ReadOnlyMany:     volume.MultiNodeReader,
	v1.ReadWriteMany:    volume.MultiNodeMultiWriter,
}

// defaultFileSystem is what the provisioner asks for where the class says nothing (--default-fstype of the manifests).
const defaultFileSystem = "ext4"

func accesses(claim *v1.PersistentVolumeClaim, class *storagev1.StorageClass, p params.Params) []volume.Access {
	block := claim.Spec.VolumeMode != nil && *claim.Spec.VolumeMode == v1.PersistentVolumeBlock
	var all []volume.Access
	for _, mode := range claim.Spec.AccessModes {
		access := volume.Access{Mode: modes[mode], Block: block}
		if !block {
			access.FSType, access.Options = p.FSType, class.MountOptions
			if access.FSType == "" {
				access.FSType = defaultFileSystem
			}
		}
		all = append(all, access)
	}
	return all
}

// Volume judges a PersistentVolume that was written by hand.
func Volume(where Where, pv *v1.PersistentVolume) []report.Finding {
	source := pv.Spec.CSI
	if source == nil || source.Driver != identity.DriverName {
		return nil
	}
	var findings []report.Finding
	if !vultr.IsID(source.VolumeHandle) {
		findings = append(findings, where.finding(report.Error, checkVolume, "volumeHandle", fmt.Sprintf("%q is not the UUID of a block storage or a file system", source.VolumeHandle),
			"write the UUID that the console and the API show", "spec", "csi", "volumeHandle"))
	}
	if pv.Spec.VolumeMode == nil || *pv.Spec.VolumeMode == v1.PersistentVolumeFilesystem {
		fsType := source.FSType
		if fsType == "" {
			fsType = defaultFileSystem
		}
		if _, err := params.FormatOf(fsType, source.VolumeAttributes); err != nil {
			findings = append(findings, where.finding(report.Error, checkVolume, "volumeAttributes", err.Error(), reference("block-volumes.md"), "spec", "csi", "volumeAttributes"))
		}
	}
	return findings
}
