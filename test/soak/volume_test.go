package soak

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const gib = volume.GiB

// vol is a volume as the cluster knows it.
type vol struct {
	name   string
	shared bool
	fsType string // "" for a raw block device
	source *csi.VolumeContentSource
	// from is what the content is copied from, nil for an empty volume; its other half is in source.
	from    *history
	began   time.Time // of the first create
	sizeGiB int64

	// formatted is set when it has been staged: only then can a copy of it be.
	formatted bool

	id       string // "" until it is told
	told     time.Time
	context  map[string]string
	capacity int64 // that was told, in bytes
	// grown is set while the node has yet to see the last growth.
	grown bool
	note  string
	// asking are the notes of calls under way, and late those of calls that were not over before a later one: their change may
	// come after it, and nobody can keep it from that.
	asking, late []string
	uses         []*use
	// been are the instances that it was published to before.
	been []string
	op   *op
	data history
	// needed counts what it is not deleted during: snapshots and clones that are being made of it, creates that must be refused.
	needed int
}

// use is a volume at a node.
type use struct {
	node    *host
	context map[string]string
	// attached is set when the publish was answered; tried when a stage was begun; staged and published when they were answered.
	attached, tried, staged, published bool
}

// history is what was written to a volume, and when.
type history struct {
	versions []version
	// any is set while the content is one of several that are known: that of a moment in a time.
	any []string
}

type version struct {
	text string
	at   time.Time
}

func (h *history) last() string {
	if len(h.versions) == 0 {
		return ""
	}
	return h.versions[len(h.versions)-1].text
}

// between are the texts that were the last ones at some moment in the time.
func (h *history) between(from, to time.Time) []string {
	texts := slices.Clone(h.any)
	if len(h.any) == 0 {
		texts = []string{""}
	}
	for _, v := range h.versions {
		if v.at.After(to) {
			break
		}
		if !v.at.After(from) {
			texts = nil
		}
		texts = append(texts, v.text)
	}
	return texts
}

// may reports whether the content can be the text, and from then on it is.
func (h *history) may(text string) bool {
	if len(h.versions) > 0 || len(h.any) == 0 {
		return text == h.last()
	}
	if !slices.Contains(h.any, text) {
		return false
	}
	h.any = []string{text}
	return true
}

// op is something that the cluster wants and repeats until it has it.
type op struct {
	name string
	vol  *vol
	use  *use
	at   *host // of whose plugin it is asked, nil for the controller
	// call asks once, without the lock; done is what follows from a success.
	call func(ctx context.Context, on asked) (done func(), err error)
	// codes are those that are right beside success and what asks for patience.
	codes []codes.Code
	tries int
	// current is the attempt whose answer counts, nil when there is none.
	current *attempt
}

// attempt is one try. It is not empty, so that no two are the same.
type attempt struct{ op *op }

// asked is who is asked: the controller that leads, and the plugin of the operation's node.
type asked struct {
	controller *process
	node       csi.NodeServer
}

// pending are the operations that have no answer yet.
func (w *world) pending() []*op {
	var all []*op
	for _, v := range w.volumes {
		if v.op != nil {
			all = append(all, v.op)
		}
	}
	for _, s := range w.snapshots {
		if s.op != nil {
			all = append(all, s.op)
		}
	}
	return all
}

func (v *vol) capability() *csi.VolumeCapability {
	c := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER}}
	if v.shared {
		c.AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	}
	if v.fsType == "" && !v.shared {
		c.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	} else {
		c.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: v.fsType}}
	}
	return c
}

// parameters are those of the volume's class.
func (v *vol) parameters() map[string]string {
	if v.shared {
		return map[string]string{params.StorageType: string(volume.VFS)}
	}
	return map[string]string{params.StorageType: string(volume.Block)}
}

func (v *vol) createRequest() *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{
		Name: v.name, VolumeCapabilities: []*csi.VolumeCapability{v.capability()}, Parameters: v.parameters(),
		CapacityRange: &csi.CapacityRange{RequiredBytes: v.sizeGiB * gib}, VolumeContentSource: v.source,
		AccessibilityRequirements: &csi.TopologyRequirement{Requisite: []*csi.Topology{{Segments: topology.Segments(region)}}},
	}
}

// newVolume adds a volume and begins its create. kind chooses what it is, source what it is made from.
func (w *world) newVolume(kind, source int) *op {
	v := &vol{name: w.name(kind), sizeGiB: []int64{10, 10, 12, 25}[kind%4], began: time.Now()}
	switch fs := []string{"ext4", "xfs", "btrfs", "", "vfs"}[kind/4%5]; fs {
	case "vfs":
		v.shared = true
	default:
		v.fsType = fs
	}
	if !v.shared {
		w.choose(v, source)
	}
	w.volumes = append(w.volumes, v)
	v.op = &op{name: "create", vol: v, call: func(ctx context.Context, on asked) (func(), error) {
		resp, err := on.controller.CreateVolume(ctx, v.createRequest())
		return func() { w.created(v, resp.GetVolume()) }, err
	}}
	return v.op
}

// name is a new one, or now and then one that was of a volume before.
func (w *world) name(choice int) string {
	if len(w.free) > 0 && choice/20%4 == 0 {
		name := w.free[0]
		w.free = w.free[1:]
		return name
	}
	w.names++
	return fmt.Sprintf("pvc-%08d-0000-4000-8000-000000000000", w.names)
}

// choose makes the new volume a copy of a volume or of a snapshot, now and then.
func (w *world) choose(v *vol, choice int) {
	var sources []func()
	for _, s := range w.snapshots {
		if s.ready && s.op == nil && (s.formatted || s.fsType == "") && w.machines.clones(s.fsType) {
			sources = append(sources, func() {
				v.formatted = true
				v.from, v.fsType, v.sizeGiB = &history{any: s.texts}, s.fsType, max(v.sizeGiB, s.sizeGiB)
				v.source = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
					Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: s.id},
				}}
				s.using++
			})
		}
	}
	for _, o := range w.volumes {
		if o.id != "" && !o.shared && o.op == nil && (o.formatted || o.fsType == "") && w.machines.clones(o.fsType) {
			sources = append(sources, func() {
				v.formatted = true
				v.from, v.fsType, v.sizeGiB = &o.data, o.fsType, max(v.sizeGiB, o.capacity/gib)
				v.source = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
					Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: o.id},
				}}
				o.needed++
			})
		}
	}
	if choice%3 == 0 && len(sources) > 0 {
		sources[choice/3%len(sources)]()
	}
}

// released ends the time in which the source of a volume is needed.
func (w *world) released(v *vol) {
	for _, s := range w.snapshots {
		if s.id != "" && s.id == v.source.GetSnapshot().GetSnapshotId() {
			s.using--
		}
	}
	for _, o := range w.volumes {
		if o.id != "" && o.id == v.source.GetVolume().GetVolumeId() {
			o.needed--
		}
	}
}

// created notes the answer to a create and compares it with the platform.
func (w *world) created(v *vol, told *csi.Volume) {
	v.id, v.context, v.capacity = told.GetVolumeId(), told.GetVolumeContext(), told.GetCapacityBytes()
	v.told = time.Now()
	w.released(v)
	if v.from != nil {
		v.data.any = v.from.between(v.began, time.Now())
	}
	if v.capacity < v.sizeGiB*gib {
		w.fail("a wrong size", "volume %s (%s) has %d bytes, asked for were %d GiB", v.id, v.name, v.capacity, v.sizeGiB)
	}
	size, label, active := w.inTruth(v)
	if !active || ownership.Bare(label) != v.name || int64(size)*gib != v.capacity {
		w.fail("a wrong create", "told was %v, the platform has %d GiB, %q, active %t", told, size, label, active)
	}
}

// inTruth is what the platform has of a volume.
func (w *world) inTruth(v *vol) (sizeGiB int, label string, active bool) {
	view := w.cloud.Sim.View()
	for _, b := range view.Blocks {
		if b.ID == v.id {
			return b.SizeGB, b.Label, b.Active
		}
	}
	for _, f := range view.FileSystems {
		if f.ID == v.id {
			return f.SizeGB, f.Label, f.Active
		}
	}
	return 0, "", false
}

// holds are the instances that have, or will have, a volume, and settled reports that nothing is under way, with the
// instance alone if one is named.
func holds(view simulator.View, id, instance string) (at []string, settled bool) {
	settled = true
	for _, b := range view.Blocks {
		if b.ID != id {
			continue
		}
		if b.AttachedTo != "" {
			at = append(at, b.AttachedTo)
		}
		if b.Pending == "attach" {
			at = append(at, b.PendingInstance)
		}
		settled = b.Pending == ""
	}
	for _, f := range view.FileSystems {
		if f.ID != id {
			continue
		}
		for _, a := range f.Attachments {
			at = append(at, a.Instance)
			settled = settled && (a.State == "ATTACHED" || instance != "" && instance != a.Instance)
		}
	}
	slices.Sort(at)
	return at, settled
}
