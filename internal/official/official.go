// Package official recognises the programs that this project takes the place of, Vultr's own CSI driver and cloud controller
// manager, by the names that their manifests give them. It decides over plain values.
package official

import (
	"fmt"
	"slices"
	"strings"
)

// Namespace is where the official manifests install everything, as ours do.
const Namespace = "kube-system"

// Program is one of the official controllers.
type Program struct {
	// Kind and Name are those of its workload. Ours has the same name and another kind.
	Kind, Name string
	// Label is the value of the label "app" that its pods have, as ours do.
	Label string
	// image is in the names of its images, also in those of a mirror.
	image string
	// ours is the container of our program. A pod that has it, and no official image, is ours, whatever made it.
	ours string
}

// The official controllers.
var (
	CSIController = Program{Kind: "StatefulSet", Name: "csi-vultr-controller", Label: "csi-vultr-controller", image: csiImage, ours: "csi-controller"}
	CCM           = Program{Kind: "DaemonSet", Name: "vultr-ccm", Label: "vultr-ccm", image: ccmImage, ours: "vultr-ccm"}
)

const (
	csiImage = "vultr/vultr-csi"
	ccmImage = "vultr/vultr-cloud-controller-manager"
)

// IsImage reports whether an image is that of an official program.
func IsImage(image string) bool {
	return strings.Contains(image, csiImage) || strings.Contains(image, ccmImage)
}

// Container is a container of a pod.
type Container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

// Workload is the object of the program's kind and name.
type Workload struct {
	UID string
	// Wanted is how many pods it is to have, and Pods how many it has.
	Wanted, Pods int32
	Containers   []Container
}

// Pod is a pod with a name or a label of the program's.
type Pod struct {
	Name, UID string
	// Ended is set if none of its containers will run again.
	Ended      bool
	Containers []Container
}

// Running is an object by which an official program runs.
type Running struct{ Kind, Name, UID string }

// String names it.
func (r Running) String() string { return fmt.Sprintf("%s %s/%s", r.Kind, Namespace, r.Name) }

// Find returns the object by which the program runs, nil if it does not: its workload, unless that is scaled to nothing, else
// a pod that a workload has left behind. workload is nil if there is none.
func (p Program) Find(workload *Workload, pods []Pod) *Running {
	if workload != nil && workload.Wanted+workload.Pods > 0 && !p.isOurs(workload.Containers) {
		return &Running{Kind: p.Kind, Name: p.Name, UID: workload.UID}
	}
	i := slices.IndexFunc(pods, func(pod Pod) bool { return !pod.Ended && !p.isOurs(pod.Containers) })
	if i < 0 {
		return nil
	}
	return &Running{Kind: "Pod", Name: pods[i].Name, UID: pods[i].UID}
}

// isOurs reports whether the containers are those of our program. What is neither's has a name of the official program's, and
// counts as that: its image may have any name in a registry of one's own.
func (p Program) isOurs(containers []Container) bool {
	if slices.ContainsFunc(containers, func(c Container) bool { return strings.Contains(c.Image, p.image) }) {
		return false
	}
	return slices.ContainsFunc(containers, func(c Container) bool { return c.Name == p.ours })
}
