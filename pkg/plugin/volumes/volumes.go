// Package volumes shows which claim has which volume of the platform, where that is attached, and what does not fit
// together. It decides over plain values.
package volumes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Attachment is an instance that has the volume, or a node that is to have it.
type Attachment struct {
	// Instance is "" where the platform does not show it.
	Instance string `json:"instance,omitempty"`
	// Node is "" for an instance that is no Node of this cluster.
	Node string `json:"node,omitempty"`
	// Wanted is set if Kubernetes has a VolumeAttachment for the node.
	Wanted bool `json:"wanted"`
	// Device is how the guest finds it: the serial of a disk, or the mount tag of a file system.
	Device string `json:"device,omitempty"`
}

// Volume is a PersistentVolume with what is behind it.
type Volume struct {
	// Claim is "namespace/name", "" for a PersistentVolume that none has.
	Claim string `json:"claim,omitempty"`
	PV    string `json:"persistentVolume"`
	Phase string `json:"phase,omitempty"`
	Class string `json:"storageClass,omitempty"`
	ID    string `json:"id"`
	// Kind is "" where the platform knows no such volume.
	Kind        volume.Kind  `json:"kind,omitempty"`
	Label       string       `json:"label,omitempty"`
	Region      string       `json:"region,omitempty"`
	Status      string       `json:"status,omitempty"`
	SizeGiB     int64        `json:"sizeGiB,omitempty"`
	MonthlyCost float64      `json:"monthlyCost,omitempty"`
	Attachments []Attachment `json:"attachments,omitempty"`
	// Problems is what does not fit together, each with what to do.
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is something that does not fit together.
type Problem struct {
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

// Input is what is known of a cluster and its account.
type Input struct {
	PVs         []*v1.PersistentVolume
	Attachments []*storagev1.VolumeAttachment
	Nodes       []*v1.Node
	Blocks      []vultr.Volume
	FileSystems []vultr.FileSystem
	// Shared are the attachments of file systems, by the ID of the file system in lower case.
	Shared map[string][]vultr.FileSystemAttachment
	// Namespace is the one whose claims are shown, "" for all, and for volumes that no claim has.
	Namespace string
}

// Show returns the volumes, ordered by claim and name.
func Show(in Input) []Volume {
	blocks, shared := map[string]vultr.Volume{}, map[string]vultr.FileSystem{}
	for _, b := range in.Blocks {
		blocks[strings.ToLower(b.ID)] = b
	}
	for _, f := range in.FileSystems {
		shared[strings.ToLower(f.ID)] = f
	}
	names := map[string][]string{}
	for _, pv := range in.PVs {
		id := strings.ToLower(pv.Spec.CSI.VolumeHandle)
		names[id] = append(names[id], pv.Name)
	}
	var all []Volume
	for _, pv := range in.PVs {
		if in.Namespace != "" && (pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.Namespace != in.Namespace) {
			continue
		}
		v := of(pv)
		id := strings.ToLower(v.ID)
		if b, there := blocks[id]; there {
			v.block(b, in)
		} else if f, there := shared[id]; there {
			v.fileSystem(f, in)
		}
		v.wanted(in)
		v.judge(pv, names[id])
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b Volume) int { return cmp.Or(cmp.Compare(a.Claim, b.Claim), cmp.Compare(a.PV, b.PV)) })
	return all
}

func of(pv *v1.PersistentVolume) Volume {
	v := Volume{PV: pv.Name, Phase: string(pv.Status.Phase), Class: pv.Spec.StorageClassName, ID: pv.Spec.CSI.VolumeHandle}
	if ref := pv.Spec.ClaimRef; ref != nil {
		v.Claim = ref.Namespace + "/" + ref.Name
	}
	return v
}

func (v *Volume) block(b vultr.Volume, in Input) {
	v.Kind, v.Label, v.Region, v.Status, v.SizeGiB, v.MonthlyCost = volume.Block, b.Label, b.Region, b.Status, int64(b.SizeGB), b.MonthlyCost
	if b.AttachedTo != "" {
		v.Attachments = []Attachment{{Instance: b.AttachedTo, Node: kube.Instances(in.Nodes)[strings.ToLower(b.AttachedTo)], Device: b.MountID}}
	}
}

func (v *Volume) fileSystem(f vultr.FileSystem, in Input) {
	v.Kind, v.Label, v.Region, v.Status, v.SizeGiB, v.MonthlyCost = volume.VFS, f.Label, f.Region, f.Status, int64(f.SizeGB), f.MonthlyCost
	names := kube.Instances(in.Nodes)
	for _, a := range in.Shared[strings.ToLower(f.ID)] {
		v.Attachments = append(v.Attachments, Attachment{Instance: a.InstanceID, Node: names[strings.ToLower(a.InstanceID)], Device: a.MountTag})
	}
	slices.SortFunc(v.Attachments, func(a, b Attachment) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Instance, b.Instance))
	})
}

// wanted adds what Kubernetes wants to be attached.
func (v *Volume) wanted(in Input) {
	for _, va := range in.Attachments {
		if va.Spec.Source.PersistentVolumeName == nil || *va.Spec.Source.PersistentVolumeName != v.PV {
			continue
		}
		i := slices.IndexFunc(v.Attachments, func(a Attachment) bool { return a.Node == va.Spec.NodeName })
		if i < 0 {
			v.Attachments = append(v.Attachments, Attachment{Node: va.Spec.NodeName})
			i = len(v.Attachments) - 1
		}
		v.Attachments[i].Wanted = va.DeletionTimestamp == nil
		text := ""
		switch {
		case va.Status.DetachError != nil:
			text = "detaching from node " + va.Spec.NodeName + " fails: " + va.Status.DetachError.Message
		case va.Status.AttachError != nil && !va.Status.Attached:
			text = "attaching to node " + va.Spec.NodeName + " fails: " + va.Status.AttachError.Message
		}
		if text != "" {
			v.add(text, "see the Events of the claim and docs/troubleshooting.md")
		}
	}
}

func (v *Volume) add(problem, remedy string) {
	v.Problems = append(v.Problems, Problem{problem, remedy})
}

// judge says what does not fit together.
func (v *Volume) judge(pv *v1.PersistentVolume, sharing []string) {
	if len(sharing) > 1 {
		v.add(fmt.Sprintf("the PersistentVolumes %s name the same volume", strings.Join(slices.Sorted(slices.Values(sharing)), ", ")),
			"keep one; first set persistentVolumeReclaimPolicy of the others to Retain, or the volume goes with them")
	}
	if v.Kind == "" {
		v.add("the account has no such volume",
			"check that the API key is of the cluster's account; if so, the volume was deleted: restore the claim from a backup, and delete the PersistentVolume")
		return
	}
	if capacity := pv.Spec.Capacity[v1.ResourceStorage]; capacity.Value() > v.SizeGiB*volume.GiB {
		v.add(fmt.Sprintf("it has %d GiB on the platform, the PersistentVolume says %s", v.SizeGiB, capacity.String()),
			"check who changed it; a claim that is just growing shows this for a moment")
	}
	if v.Phase == string(v1.VolumeReleased) || v.Phase == string(v1.VolumeFailed) {
		v.add(fmt.Sprintf("no claim uses it (%s), and it is paid for", v.Phase),
			"bind it to a claim again, or delete the PersistentVolume and then the volume (kubectl vultr orphans)")
	}
	for _, a := range v.Attachments {
		switch {
		case a.Instance != "" && !a.Wanted && a.Node == "":
			v.add(fmt.Sprintf("it is attached to instance %s, which is not a node of this cluster", a.Instance),
				"if nobody uses it there, detach it in the Vultr console")
		case a.Instance != "" && !a.Wanted:
			v.add(fmt.Sprintf("it is attached to node %s, and Kubernetes does not want it there", a.Node),
				"it is being detached, or was attached by hand; see the Events of the claim if it stays")
		}
	}
}

// Trouble reports whether anything does not fit together.
func Trouble(all []Volume) bool {
	return slices.ContainsFunc(all, func(v Volume) bool { return len(v.Problems) > 0 })
}

// Cost is what all of them cost a month, in dollars. A volume that several PersistentVolumes name is paid for once.
func Cost(all []Volume) float64 {
	total, counted := 0.0, map[string]bool{}
	for _, v := range all {
		if id := strings.ToLower(v.ID); !counted[id] {
			counted[id] = true
			total += v.MonthlyCost
		}
	}
	return total
}
