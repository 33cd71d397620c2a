package faults

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// use is how a volume is used.
type use struct {
	// fs is the file system, "" for a block device, "vfs" for a shared file system.
	fs string
	// remote has the data written by the machine itself: no node plugin is part of it, and the volume is not mounted.
	remote bool
}

const shared = "vfs"

// The rungs of a volume.
const (
	nowhere = iota
	created
	attached
	staged
	published
)

// volume is a volume's ladder.
type volume struct {
	*ladder
	use

	p       *point
	name    string
	source  *csi.VolumeContentSource
	sizeGiB int64
	data    []byte // what was written, nil for nothing yet
	on      int    // the machine that is to have it

	id        string
	context   map[string]string
	published map[string]string
	grown     int64 // by the node's word
}

// newVolume describes a volume that is not made yet.
func (p *point) newVolume(u use) *volume {
	p.lives++
	v := &volume{ladder: &ladder{}, use: u, p: p, sizeGiB: 10}
	v.name = "pvc-" + uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%s %d", p.Name(), p.lives)).String()
	v.whole, v.title = v.readOrWrite, v.describe
	v.move = func() { v.on = 1 - v.on }
	v.add(op{name: "create", try: v.create, check: v.isCreated}, op{name: "delete", try: v.remove, check: v.isGone})
	v.add(op{name: "attach", try: v.attach, check: v.isAttached}, op{name: "detach", try: v.detach, check: v.isFree})
	v.beside = []op{
		{name: "expand", from: attached, to: attached, try: v.expand, check: v.isLarger},
		{name: "modify", from: attached, to: attached, try: v.modify, check: v.isNoted},
	}
	if u.remote {
		return v
	}
	v.add(op{name: "stage", node: true, try: v.stage, check: v.isStaged}, op{name: "unstage", node: true, try: v.unstage, check: v.isUnstaged})
	v.add(op{name: "publish", node: true, try: v.publish, check: v.isPublished}, op{name: "unpublish", node: true, try: v.unpublish, check: v.isUnpublished})
	v.beside = append(v.beside, op{name: "grow", node: true, from: published, to: published, try: v.grow, check: v.hasGrown})
	return v
}

// describe returns the name of an operation in the matrix.
func (v *volume) describe(o op) string {
	switch {
	case v.isShared():
		return shared + " " + o.name
	case o.node && v.fs == "":
		return "block " + o.name
	case o.node:
		return v.fs + " " + o.name
	case o.name == "create" && v.source.GetSnapshot() != nil:
		return "restore"
	case o.name == "create" && v.source.GetVolume() != nil:
		return "clone"
	}
	return o.name
}

func (v *volume) host() *host { return v.p.hosts[v.on] }
func (v *volume) staging() string {
	return filepath.Join(v.host().kubelet, "staging", v.name, "globalmount")
}

func (v *volume) target() string         { return filepath.Join(v.host().kubelet, "pods", v.name, "mount") }
func (v *volume) isShared() bool         { return v.fs == shared }
func (v *volume) size() int64            { return v.sizeGiB * gib }
func (v *volume) client() csi.NodeClient { return v.p.node(v.on) }

func (v *volume) capability() *csi.VolumeCapability {
	mode := csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	if v.isShared() {
		mode = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	}
	c := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode}}
	switch v.fs {
	case "":
		c.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	case shared:
		c.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}
	default:
		c.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: v.fs}}
	}
	return c
}

func (v *volume) create(ctx context.Context) error {
	parameters := map[string]string{"storage_type": "block"}
	if v.isShared() {
		parameters["storage_type"] = shared
	}
	here := []*csi.Topology{{Segments: topology.Segments(region)}}
	answer, err := v.p.control().CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name: v.name, VolumeCapabilities: []*csi.VolumeCapability{v.capability()}, Parameters: parameters,
		CapacityRange: &csi.CapacityRange{RequiredBytes: v.size()}, VolumeContentSource: v.source,
		AccessibilityRequirements: &csi.TopologyRequirement{Requisite: here, Preferred: here},
	})
	if err == nil {
		if id := answer.GetVolume().GetVolumeId(); v.id != "" && v.id != id {
			return fmt.Errorf("first it was volume %s, now it is %s", v.id, id)
		}
		v.id, v.context = answer.GetVolume().GetVolumeId(), answer.GetVolume().GetVolumeContext()
	}
	return err
}

func (v *volume) remove(ctx context.Context) error {
	_, err := v.p.control().DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: v.id})
	return err
}

func (v *volume) attach(ctx context.Context) error {
	answer, err := v.p.control().ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{
		VolumeId: v.id, NodeId: v.host().instance, VolumeCapability: v.capability(), VolumeContext: v.context,
	})
	if err == nil {
		v.published = answer.GetPublishContext()
	}
	return err
}

func (v *volume) detach(ctx context.Context) error {
	_, err := v.p.control().ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: v.id, NodeId: v.host().instance})
	return err
}

// expand is asked for the double.
func (v *volume) expand(ctx context.Context) error {
	_, err := v.p.control().ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{
		VolumeId: v.id, CapacityRange: &csi.CapacityRange{RequiredBytes: 2 * v.size()}, VolumeCapability: v.capability(),
	})
	return err
}

// note is what a VolumeAttributesClass adds to the volume's label.
const note = "tier=gold"

// modify is asked for the note.
func (v *volume) modify(ctx context.Context) error {
	_, err := v.p.control().ControllerModifyVolume(ctx, &csi.ControllerModifyVolumeRequest{
		VolumeId: v.id, MutableParameters: map[string]string{"label": note},
	})
	return err
}

func (v *volume) stage(ctx context.Context) error {
	_, err := v.client().NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: v.id, PublishContext: v.published, VolumeContext: v.context, StagingTargetPath: v.staging(), VolumeCapability: v.capability(),
	})
	return err
}

func (v *volume) unstage(ctx context.Context) error {
	_, err := v.client().NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: v.id, StagingTargetPath: v.staging()})
	return err
}

func (v *volume) publish(ctx context.Context) error {
	_, err := v.client().NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: v.id, PublishContext: v.published, VolumeContext: v.context, StagingTargetPath: v.staging(),
		TargetPath: v.target(), VolumeCapability: v.capability(),
	})
	return err
}

func (v *volume) unpublish(ctx context.Context) error {
	_, err := v.client().NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: v.id, TargetPath: v.target()})
	return err
}

func (v *volume) grow(ctx context.Context) error {
	answer, err := v.client().NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{
		VolumeId: v.id, VolumePath: v.target(), StagingTargetPath: v.staging(), VolumeCapability: v.capability(),
		CapacityRange: &csi.CapacityRange{RequiredBytes: 2 * v.size()},
	})
	v.grown = answer.GetCapacityBytes()
	return err
}

// blocks are the platform's volumes of the name.
func (v *volume) blocks(view simulator.View) []simulator.BlockView {
	var all []simulator.BlockView
	for _, b := range view.Blocks {
		if ownership.Bare(b.Label) == v.name {
			all = append(all, b)
		}
	}
	return all
}

// fileSystems are the platform's shared file systems of the name.
func (v *volume) fileSystems(view simulator.View) []simulator.FileSystemView {
	var all []simulator.FileSystemView
	for _, f := range view.FileSystems {
		if ownership.Bare(f.Label) == v.name {
			all = append(all, f)
		}
	}
	return all
}
