// Package blockstore keeps volumes as block storage of the platform: disks that one instance at a time can have.
//
// Everything here can be cut off at any point and called again. What a cut-off call did is found out by looking,
// never by assuming.
package blockstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what the store needs of the platform.
type API interface {
	Regions(ctx context.Context) ([]vultr.Region, error)
	Volume(ctx context.Context, id string) (vultr.Volume, error)
	Volumes(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Volume], error)
	WaitVolume(ctx context.Context, op, id string, done func(vultr.Volume) (bool, error)) (vultr.Volume, error)
	CreateVolume(ctx context.Context, r vultr.VolumeRequest) (vultr.Volume, error)
	ResizeVolume(ctx context.Context, id string, sizeGB int) error
	AttachVolume(ctx context.Context, id, instanceID string) error
	DetachVolume(ctx context.Context, id string) error
	DeleteVolume(ctx context.Context, id string) error
	Instance(ctx context.Context, id string) (vultr.Instance, error)
	SettleTime() time.Duration
}

// Store is block storage as a place for volumes. It is safe for concurrent use, and two processes may use the
// same account.
type Store struct {
	api     API
	born    time.Time
	guard   *vultr.SettleGuard // for the whole life of the process
	recent  recent             // volumes by the names they got
	deleted recent             // names by the volumes that had them
	placed  attachments
	orders  inflight.Queue // by instance

	regions    regions
	mistakes   mistakes
	duplicates duplicates
}

// Options are what can be set. The zero value is right for the real platform.
type Options struct {
	// AttachWindow is how long an attach that was ordered may take to become visible; 0 is 30 s. It usually takes four.
	AttachWindow time.Duration
	// Registerer gets the metrics; nil is none.
	Registerer prometheus.Registerer
}

const defaultAttachWindow = 30 * time.Second

// New makes a store.
func New(api API, opts Options) *Store {
	s := &Store{
		api:    api,
		born:   time.Now(),
		guard:  vultr.NewSettleGuard(api.SettleTime()),
		placed: attachments{window: cmp.Or(opts.AttachWindow, defaultAttachWindow)},
	}
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "csi_duplicate_volumes_total",
			Help: "Volumes found beside an older one of the same name. They cost money and hold no data of a claim.",
		}, s.duplicates.count), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "csi_instance_queue_length",
			Help: "Attach and detach operations under way or waiting for their instance.",
		}, func() float64 { return float64(s.orders.Waiting()) }))
	}
	return s
}

// Get reads one volume.
func (s *Store) Get(ctx context.Context, id string) (volume.Volume, error) {
	v, err := s.api.Volume(ctx, id)
	if vultr.IsNotFound(err) {
		return volume.Volume{}, volume.Errorf(volume.NotFound, "volume %s does not exist", id)
	}
	if err != nil {
		return volume.Volume{}, err
	}
	s.regions.learn(id, v.Region)
	return fromAPI(v), nil
}

// List reads all volumes, ordered by ID. maxAge says how old the answer may be.
func (s *Store) List(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error) {
	list, err := s.api.Volumes(ctx, maxAge)
	if err != nil {
		return nil, err
	}
	volumes := make([]volume.Volume, 0, len(list.Items))
	for _, v := range list.Items {
		volumes = append(volumes, fromAPI(v))
	}
	slices.SortFunc(volumes, func(a, b volume.Volume) int { return strings.Compare(a.ID, b.ID) })
	return volumes, nil
}

// fromAPI translates a volume into the driver's terms.
func fromAPI(v vultr.Volume) volume.Volume {
	t := volume.NVMe
	if v.Type == vultr.StorageOpt {
		t = volume.HDD
	}
	return volume.Volume{
		ID: v.ID, Name: v.Label, Kind: volume.Block, Type: t, Region: strings.ToLower(v.Region),
		SizeGiB: int64(v.SizeGB), Ready: v.Active(), AttachedTo: v.AttachedTo, Serial: v.MountID,
		Source: v.SnapshotID, Created: v.Created,
	}
}

// blockType translates a disk type into the API's terms.
func blockType(t volume.DiskType) vultr.BlockType {
	if t == volume.HDD {
		return vultr.StorageOpt
	}
	return vultr.HighPerf
}
