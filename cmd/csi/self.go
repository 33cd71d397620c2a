package main

import (
	"context"
	"errors"
	"strings"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/node"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// errUnknownSelf says that the metadata service has not answered yet.
var errUnknownSelf = errors.New("the metadata service has not answered yet")

// selfSource knows on which instance the process runs: by flags, or by the metadata service, which may answer late
// or, outside the platform, never. Nothing ends for that; what needs the answer says that it is missing.
type selfSource struct {
	metadata *vultr.Metadata
	self     node.Self
	needNode bool
	// official is set to report the official driver's topology key, whose spelling only the metadata service knows.
	official bool
	known    chan struct{} // closed when self is complete
}

func newSelfSource(cfg Config) *selfSource {
	return &selfSource{
		metadata: vultr.NewMetadata(cfg.MetadataURL),
		self:     node.Self{ID: strings.ToLower(cfg.NodeID), Region: strings.ToLower(cfg.Region)},
		needNode: cfg.node(),
		official: cfg.node() && cfg.ReportOfficialRegion,
		known:    make(chan struct{}),
	}
}

// run asks the metadata service for what flags do not say, until it answers or the context ends.
func (s *selfSource) run(ctx context.Context) error {
	if s.self.Region == "" || (s.needNode && s.self.ID == "") || s.official {
		answer, err := s.metadata.Get(ctx)
		if err != nil {
			return nil //nolint:nilerr // the context ended, which is no fault
		}
		if s.self.Region == "" {
			s.self.Region = answer.Region
		}
		if s.self.ID == "" {
			s.self.ID = answer.InstanceID
		}
		if s.official {
			s.self.OfficialRegion = answer.RegionCode
		}
	}
	klog.FromContext(ctx).Info("Running on", "instanceID", s.self.ID, "region", s.self.Region)
	close(s.known)
	return nil
}

// wait waits until it is known which instance this is.
func (s *selfSource) wait(ctx context.Context) error {
	select {
	case <-s.known:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// get returns which instance this is.
func (s *selfSource) get(context.Context) (node.Self, error) {
	select {
	case <-s.known:
		return s.self, nil
	default:
		return node.Self{}, errUnknownSelf
	}
}

// region is the region of this instance.
func (s *selfSource) region(ctx context.Context) (string, error) {
	self, err := s.get(ctx)
	return self.Region, err
}

// members returns instances that are certainly the cluster's: this one, and those that the apiserver names. Outside of the
// platform the metadata service never answers, and outside of a cluster there is no apiserver.
func (s *selfSource) members(nodes func(context.Context) ([]string, error)) account.Members {
	return func(ctx context.Context) ([]string, error) {
		var ids []string
		if self, err := s.get(ctx); err == nil && self.ID != "" {
			ids = append(ids, self.ID)
		}
		if nodes == nil {
			return ids, nil
		}
		others, err := nodes(ctx)
		return append(ids, others...), err
	}
}
