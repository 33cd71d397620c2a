package main

import (
	"context"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/identity"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/node"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/nodeinfo"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// selfSource knows on which instance the process runs.
type selfSource struct{ *nodeinfo.Source }

// newSelfSource makes it; kube is nil outside of a cluster.
func newSelfSource(cfg Config, kube *kubeapi.Client) selfSource {
	return selfSource{nodeinfo.New(nodeinfo.Config{
		ID: cfg.NodeID, Region: cfg.Region, Metadata: vultr.NewMetadata(cfg.MetadataURL),
		NeedID: cfg.node(), Official: cfg.node() && cfg.ReportOfficialRegion,
		Kube: kube, NodeName: cfg.nodeName(), Driver: identity.DriverName, MaxVolumes: cfg.MaxVolumesPerNode,
		Disks: device.Finder{DeviceDir: cfg.DeviceDir, SysfsDir: cfg.SysfsBlockDir}.All,
	})}
}

// get returns what the kubelet is told of the node, where the volumes that staged returns count as the cluster's.
func (s selfSource) get(staged func() ([]string, error)) func(context.Context) (node.Self, error) {
	return func(ctx context.Context) (node.Self, error) {
		info, err := s.Info(ctx, staged)
		return node.Self{ID: info.ID, Region: info.Region, OfficialRegion: info.OfficialRegion, MaxVolumes: info.MaxVolumes}, err
	}
}

// region is the region of this instance.
func (s selfSource) region(context.Context) (string, error) {
	self, err := s.Identity()
	return self.Region, err
}

// members returns instances that are certainly the cluster's: this one, and those that the apiserver names. Outside of the
// platform the metadata service never answers, and outside of a cluster there is no apiserver.
func (s selfSource) members(nodes func(context.Context) ([]string, error)) account.Members {
	return func(ctx context.Context) ([]string, error) {
		var ids []string
		if self, err := s.Identity(); err == nil && self.ID != "" {
			ids = append(ids, self.ID)
		}
		if nodes == nil {
			return ids, nil
		}
		others, err := nodes(ctx)
		return append(ids, others...), err
	}
}
