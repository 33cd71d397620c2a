// Package events tells users of a PersistentVolumeClaim what they should know and no answer of a call can say: that a
// request was carried out, but asked in a way that will not work for ever. It is an Event on the claim where there is
// a cluster to write it to, and a line in the log everywhere.
package events

import "context"

// DeprecatedParameter is the reason of a warning about a StorageClass parameter with a better spelling.
const DeprecatedParameter = "DeprecatedParameter"

// OrphanedVolume is the reason of a warning about a volume that no PersistentVolume names.
const OrphanedVolume = "OrphanedVolume"

// OrphanedSnapshot is the reason of a warning about a snapshot that no VolumeSnapshotContent names.
const OrphanedSnapshot = "OrphanedSnapshot"

// AttachPending and DetachPending are the reasons of a warning about a volume that the platform does not attach or detach for
// long.
const (
	AttachPending = "AttachPending"
	DetachPending = "DetachPending"
)

// CopyPending and SnapshotPending are the reasons of a warning about a volume that is a copy, and about a snapshot, for which the
// platform takes long.
const (
	CopyPending     = "CopyPending"
	SnapshotPending = "SnapshotPending"
)

// OtherRegion is the reason of a warning about a volume whose pod was placed in another region.
const OtherRegion = "OtherRegion"

// VolumeLimitLowered is the reason of a warning about a node to which the platform attaches no more volumes.
const VolumeLimitLowered = "VolumeLimitLowered"

// OfficialControllerRuns is the reason of a warning about the official driver's controller, beside which this one does not work.
const OfficialControllerRuns = "OfficialControllerRuns"

// Driver stands for the CSIDriver, for what concerns no claim. Events about objects without a namespace are in "default".
var Driver = Claim{Kind: "CSIDriver", Namespace: "default", Name: "block.csi.vultr.com"}

// The Kinds of what Events are about, beside claims and the driver.
const (
	kindNode        = "Node"
	kindSnapshot    = "VolumeSnapshot"
	kindStatefulSet = "StatefulSet"
	kindPod         = "Pod"
)

// Node stands for a node. It is known to `kubectl describe` by its name, as the kubelet's own Events about it are.
func Node(name string) Claim {
	return Claim{Kind: kindNode, Namespace: Driver.Namespace, Name: name, UID: name}
}

// Snapshot stands for a VolumeSnapshot; uid may be "", as that of a claim.
func Snapshot(namespace, name, uid string) Claim {
	return Claim{Kind: kindSnapshot, Namespace: namespace, Name: name, UID: uid}
}

// Object stands for a StatefulSet or a Pod, by its Kind.
func Object(kind, namespace, name, uid string) Claim {
	return Claim{Kind: kind, Namespace: namespace, Name: name, UID: uid}
}

// Claim names a PersistentVolumeClaim. The zero value is that of a request that names none.
type Claim struct {
	// Kind is "" for a claim, and set for Driver, for nodes, for snapshots and for other objects.
	Kind            string
	Namespace, Name string
	// UID may be unset; `kubectl describe` finds only Events that have it.
	UID string
	// Volume is the handle of the claim's volume, where nothing else is known of the claim: which it is, is looked up when the
	// Event is written.
	Volume string
}

// Known reports whether an Event can be written for the claim.
func (c Claim) Known() bool { return c.Namespace != "" && c.Name != "" || c.Volume != "" }

// Warner takes warnings. Warn never blocks and never fails: a warning that is lost is no reason to refuse a request.
type Warner interface {
	Warn(ctx context.Context, claim Claim, reason, message string)
}
