package soak

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// machines are what instances are made of: in memory, or with the node plugin itself, devices and mounts.
type machines interface {
	// planes are the data planes of the cloud.
	planes() (simulator.Disks, simulator.FileSystems)
	// plugin returns a new process of the node plugin of an instance. What is mounted there and the plugin's records stay.
	plugin(instance string) csi.NodeServer
	// paths are where the kubelet of the instance has a volume staged and published.
	paths(instance, volumeID string) (staging, target string)
	// write and read are those of a pod that has the volume.
	write(v *vol, u *use, text string) error
	read(v *vol, u *use) (string, error)
	// kill ends the instance with all that is mounted there.
	kill(instance string) error
	// growsInUse reports whether a file system can grow while it is mounted, "" being none.
	growsInUse(fsType string) bool
	// clones reports whether a copy of the file system can be mounted beside it.
	clones(fsType string) bool
	// apart reports whether no machine sees what is mounted on another one.
	apart() bool
	// hold keeps the fake clock from running ahead of the machines until release is called.
	hold() (release func())
	// close removes everything.
	close()
	// check compares what is mounted with the volumes that are staged and published, by instance, and returns what is wrong.
	check(staged, published map[string][]*vol) error
}

// memory are machines without a kernel.
type memory struct {
	disks  *memoryDisks
	shares *memoryShares
	mu     sync.Mutex
	nodes  map[string]*memoryNode
}

func newMemory() *memory {
	return &memory{disks: newMemoryDisks(), shares: newMemoryShares(), nodes: map[string]*memoryNode{}}
}

func (m *memory) planes() (simulator.Disks, simulator.FileSystems) { return m.disks, m.shares }

func (m *memory) plugin(instance string) csi.NodeServer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.nodes[instance] == nil {
		m.nodes[instance] = &memoryNode{memory: m, instance: instance}
	}
	return m.nodes[instance]
}

func (*memory) paths(instance, volumeID string) (staging, target string) {
	return "/" + instance + "/" + volumeID + "/staging", "/" + instance + "/" + volumeID + "/target"
}

func (m *memory) write(v *vol, _ *use, text string) error {
	if v.shared {
		m.shares.write(v.id, text)
	} else {
		m.disks.write(v.id, text)
	}
	return nil
}

func (m *memory) read(v *vol, _ *use) (string, error) {
	text, ok := m.disks.read(v.id)
	if v.shared {
		text, ok = m.shares.read(v.id)
	}
	if !ok {
		return "", status.Error(codes.NotFound, "there is no such storage")
	}
	return text, nil
}

func (*memory) kill(string) error { return nil }

func (*memory) growsInUse(string) bool { return true }

func (*memory) clones(string) bool { return true }

func (*memory) apart() bool { return true }

func (*memory) hold() (release func()) { return func() {} }

func (*memory) close() {}

func (*memory) check(_, _ map[string][]*vol) error { return nil }

// memoryNode stands for a node plugin where there are no devices: it finds disks and tags as the plugin does.
type memoryNode struct {
	csi.UnimplementedNodeServer

	*memory

	instance string
}

// find waits for the volume as the node plugin does.
func (n *memoryNode) find(ctx context.Context, id string, published map[string]string) (guest int64, err error) {
	for range 30 {
		name, size := n.disks.serialAt(id, n.instance)
		if published[volume.ContextStorageType] == string(volume.VFS) {
			if tag := n.shares.tagAt(id, n.instance); tag != 0 {
				name = strconv.Itoa(tag)
			}
		}
		if name != "" && name == published[volume.ContextSerial] {
			return size, nil
		}
		select {
		case <-ctx.Done():
			return 0, status.FromContextError(ctx.Err()).Err()
		case <-time.After(time.Second):
		}
	}
	return 0, status.Errorf(codes.Unavailable, "volume %s (%v) is not at instance %s", id, published, n.instance)
}

// NodeStageVolume finds the volume.
func (n *memoryNode) NodeStageVolume(ctx context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	_, err := n.find(ctx, req.GetVolumeId(), req.GetPublishContext())
	return &csi.NodeStageVolumeResponse{}, err
}

// NodePublishVolume finds the volume.
func (n *memoryNode) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	_, err := n.find(ctx, req.GetVolumeId(), req.GetPublishContext())
	return &csi.NodePublishVolumeResponse{}, err
}

// NodeUnpublishVolume does nothing.
func (*memoryNode) NodeUnpublishVolume(context.Context, *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// NodeUnstageVolume does nothing.
func (*memoryNode) NodeUnstageVolume(context.Context, *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	return &csi.NodeUnstageVolumeResponse{}, nil
}

// NodeExpandVolume waits for the growth.
func (n *memoryNode) NodeExpandVolume(ctx context.Context, req *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	for range 30 {
		if _, guest := n.disks.serialAt(req.GetVolumeId(), n.instance); guest >= req.GetCapacityRange().GetRequiredBytes() {
			return &csi.NodeExpandVolumeResponse{CapacityBytes: guest}, nil
		}
		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-time.After(time.Second):
		}
	}
	return nil, status.Error(codes.FailedPrecondition, "the guest does not see the new size")
}

// NodeGetVolumeStats answers nothing in particular.
func (*memoryNode) NodeGetVolumeStats(context.Context, *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: 1}}}, nil
}

// NodeGetVolumeHealth answers nothing in particular.
func (*memoryNode) NodeGetVolumeHealth(_ context.Context, req *csi.NodeGetVolumeHealthRequest) (*csi.NodeGetVolumeHealthResponse, error) {
	return &csi.NodeGetVolumeHealthResponse{VolumeHealth: &csi.VolumeHealth{VolumeId: req.GetVolumeId()}}, nil
}
