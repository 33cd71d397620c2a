// Package blockstore keeps volumes as block storage of the platform: disks that one instance at a time can have.
//
// Everything here can be cut off at any point and called again. What a cut-off call did is found out by looking,
// never by assuming, and a look may be old: reads of the platform lag behind its writes.
//
// What the process remembers has three homes, each with one rule: names (what creates came to), ledger (what was seen
// of volumes and ordered since) and places (in which region things are). None is needed for a right answer; a process
// that was just started has to look or to wait instead.
package blockstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/lru"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blocksnap"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what the store needs of the platform.
type API interface {
	Reads
	account.API
	blocksnap.API
	Regions(ctx context.Context) ([]vultr.Region, error)
	CreateVolume(ctx context.Context, r vultr.VolumeRequest) (vultr.Volume, error)
	ResizeVolume(ctx context.Context, id string, sizeGB int) error
	VolumeExists(ctx context.Context, id string) (bool, error)
	AttachVolume(ctx context.Context, id, instanceID string) error
	DetachVolume(ctx context.Context, id string, preconditions ...vultr.Precondition) error
	DeleteVolume(ctx context.Context, id string, preconditions ...vultr.Precondition) error
	Instance(ctx context.Context, id string) (vultr.Instance, error)
	SettleTime() time.Duration
}

// Reads are the reads of volumes. VolumeNow is a single read, all others are lists.
type Reads interface {
	VolumeNow(ctx context.Context, id string, maxAge time.Duration) (vultr.Volume, time.Time, error)
	VolumeListed(ctx context.Context, id string, maxAge time.Duration) (vultr.Volume, time.Time, error)
	Volumes(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Volume], error)
	WaitVolumeAsOf(ctx context.Context, op, id string, done func(vultr.Volume) (bool, error)) (vultr.Volume, time.Time, error)
	WaitListed(ctx context.Context, op, id string, missing time.Duration, done func(vultr.Volume) (bool, error)) (vultr.Volume, vultr.List[vultr.Volume], error)
}

// Store is block storage as a kind of volumes. It implements volume.Backend, is safe for concurrent use, and any
// number of processes may use the same account.
type Store struct {
	api  API
	opts Options
	// account is asked before anything counts as gone, or as never made.
	account *account.Account
	names   *names
	ledger  ledger
	places  places
	orders  *inflight.Queue // by instance
	twins   *twins
	// snapshots are those of the disks, and clones the work on new disks that are copies of others.
	snapshots *blocksnap.Store
	clones    *clones
	changes   *changes
	// kinds are the stores of this process, this one among them, and sent the names for which this one sent a create.
	kinds *kinds
	sent  *lru.Cache
}

var (
	_ volume.Backend     = (*Store)(nil)
	_ volume.Snapshotter = (*Store)(nil)
	_ volume.Cloner      = (*Store)(nil)
)

// Options are what can be set. The zero value is right for the real platform.
type Options struct {
	// AttachWindow is how long an attach or detach that was ordered may take to show; 0 is 30 s. It usually takes four.
	AttachWindow time.Duration
	// Unseen is how long reads may lack what was created; 0 is two minutes. It is usually less than one second.
	Unseen time.Duration
	// TwinCheck is how long after the settle time a created volume's name is looked at again, so that a list which
	// somebody reads meanwhile does for it; 0 is 45 s. A look that has to be repeated is after a quarter of that.
	TwinCheck time.Duration
	// LookAgain is how long after it was not found a volume is looked for again before it counts as gone; 0 is 3 s.
	LookAgain time.Duration
	// Medium is another kind of storage than block storage.
	Medium Medium
	// Beside is the store of another kind in this process: orders to instances take turns with it, it counts for both, and a name is
	// that of one volume of the two.
	Beside *Store
	// Cluster is whose the volumes are.
	Cluster ownership.Cluster
	// Account knows whether the key's account is the cluster's; nil is one that knows nothing of the cluster.
	Account *account.Account
	// RegionOf returns the region of an instance by what the cluster says of its node, and in words how that is known; "" if
	// it says nothing. It is a hint. Without it, the first attach across regions to each instance is left to the platform.
	RegionOf func(ctx context.Context, instance string) (region, by string)
	// LimitReached is told that the platform refused to attach one more volume to an instance that was seen with so many,
	// before the refusal is returned; nil tells nobody.
	LimitReached func(ctx context.Context, instance string, volumes int)
	// Registerer gets the metrics; nil is none.
	Registerer prometheus.Registerer
}

// New makes a store.
func New(api API, opts Options) *Store {
	opts.AttachWindow = cmp.Or(opts.AttachWindow, 30*time.Second)
	opts.Unseen = cmp.Or(opts.Unseen, 2*time.Minute)
	opts.TwinCheck = cmp.Or(opts.TwinCheck, 45*time.Second)
	opts.LookAgain = cmp.Or(opts.LookAgain, 3*time.Second)
	if opts.Account == nil {
		opts.Account = account.New(api, nil)
	}
	s := &Store{
		api: api, opts: opts, account: opts.Account, names: newNames(api.SettleTime()),
		ledger: ledger{window: opts.AttachWindow, unseen: opts.Unseen}, places: newPlaces(), orders: &inflight.Queue{}, twins: newTwins(),
		clones: newClones(), changes: newChanges(), sent: lru.New(sentKnown),
	}
	var beside *kinds
	if opts.Beside != nil {
		s.orders, s.twins.found, s.twins.deleted = opts.Beside.orders, opts.Beside.twins.found, opts.Beside.twins.deleted
		beside = opts.Beside.kinds
	}
	s.kinds = beside.add(s)
	s.snapshots = blocksnap.New(api, blocksnap.Options{
		Cluster: opts.Cluster, Account: opts.Account, Unused: s.unused, Unseen: opts.Unseen, TwinCheck: opts.TwinCheck, LookAgain: opts.LookAgain, Registerer: opts.Registerer,
	})
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(s.twins.found, s.twins.deleted, s.clones.left, queues{s.orders})
	}
	return s
}

// Kind is volume.Block, or that of the medium.
func (s *Store) Kind() volume.Kind { return s.opts.Medium.kind() }

// knownFor is how old a list may be that shows that an ID is a disk: the platform gives an ID to one object only.
const knownFor = 10 * time.Minute

// Has reports whether the ID is a disk.
func (s *Store) Has(ctx context.Context, id string) (bool, error) {
	if s.ledger.isGone(id) {
		return true, nil
	}
	asked := time.Now()
	list, err := s.list(ctx, knownFor) // one for all who ask after a start
	if err == nil && slices.ContainsFunc(list.Items, func(v vultr.Volume) bool { return v.ID == id }) {
		return true, nil
	}
	if err == nil && !list.Began.Before(asked) { // another list would say the same
		_, err = s.lookOr(ctx, id, func() (disk, error) { return disk{}, s.missing(id) })
	} else {
		_, err = s.look(ctx, id)
	}
	if volume.ReasonOf(err) == volume.NotFound {
		return false, nil
	}
	return err == nil, err
}

// disk is a volume with the serial by which the guest finds it.
type disk struct {
	volume.Volume

	serial string
	status string // in the platform's words
}

// Read returns one volume as it is now.
func (s *Store) Read(ctx context.Context, id string) (volume.Volume, error) {
	asked := time.Now()
	d, err := s.look(ctx, id)
	return d.Volume, s.orDoubt(ctx, id, asked, err)
}

// look reads the disk as it is now. It is NotFound only if a list lacks it as well, and even that is Busy shortly after
// this process created it: reads may lack it. Where the disk is attached is for whereIs to say.
func (s *Store) look(ctx context.Context, id string) (disk, error) {
	// Single reads and lists are not equally fresh. What a list shows is there.
	return s.lookOr(ctx, id, func() (disk, error) { return s.whereIs(ctx, id, 0) })
}

// lookOr reads the disk by a single read, and leaves a 404 to lacking.
func (s *Store) lookOr(ctx context.Context, id string, lacking func() (disk, error)) (disk, error) {
	v, at, err := s.api.VolumeNow(ctx, id, 0)
	if vultr.IsNotFound(err) {
		return lacking()
	}
	if err != nil {
		return disk{}, refusal.OfRead(err, "reading volume %s", id)
	}
	d := fromAPI(v)
	s.account.Shown(at)
	s.places.learn(id, d.Region)
	return d, nil
}

// whereIs reads the disk by a list that is at most maxAge old, and notes what it saw. All decisions about an attachment
// are based on lists, because the waits for attachments are: single reads may be older and show the disk as it was
// before the last attach, which looks as if a detach that is under way were over. NotFound is as for look.
func (s *Store) whereIs(ctx context.Context, id string, maxAge time.Duration) (disk, error) {
	if s.ledger.isGone(id) {
		return disk{}, volume.Errorf(volume.NotFound, "volume %s does not exist, it was deleted", id)
	}
	v, at, err := s.api.VolumeListed(ctx, id, maxAge)
	if vultr.IsNotFound(err) {
		return disk{}, s.missing(id)
	}
	if err != nil {
		return disk{}, refusal.OfRead(err, "reading volume %s", id)
	}
	d := fromAPI(v)
	s.places.learn(id, d.Region)
	s.account.Shown(at)
	s.ledger.saw(d, at)
	return d, nil
}

// missing is the error for a volume of which a read says that it does not exist.
func (s *Store) missing(id string) error {
	if left := s.ledger.young(id); left > 0 {
		return volume.Errorf(volume.Busy, "volume %s was created a moment ago and the platform does not show it; that proves nothing for another %s",
			id, left.Round(time.Second))
	}
	return volume.Errorf(volume.NotFound, "volume %s does not exist", id)
}

// lookedAt returns the disk as it was so lately that an order can be based on it.
func (s *Store) lookedAt(ctx context.Context, id string) (disk, error) {
	if d, ok := s.ledger.lately(id, looksFor); ok {
		return d, nil
	}
	return s.whereIs(ctx, id, looksFor)
}

// List reads all disks. maxAge says how old the answer may be; what this process did since is in it.
func (s *Store) List(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error) {
	list, err := s.list(ctx, maxAge)
	if err != nil {
		return nil, refusal.OfRead(err, "listing %s", s.opts.Medium.words())
	}
	volumes := make([]volume.Volume, 0, len(list.Items))
	for _, v := range list.Items {
		d, there := s.ledger.asKnown(fromAPI(v))
		if !there {
			continue
		}
		s.places.learn(d.ID, d.Region)
		volumes = append(volumes, d.Volume)
	}
	return volumes, nil
}

// fromAPI translates a volume into the driver's terms.
func fromAPI(v vultr.Volume) disk {
	d := disk{
		Volume: volume.Volume{
			ID: v.ID, Name: v.Label, Kind: volume.Block, Type: volume.NVMe, Region: strings.ToLower(v.Region),
			SizeGiB: int64(v.SizeGB), Ready: v.Active(), Source: volume.Source{Snapshot: v.SnapshotID}, Created: v.Created,
			MonthlyCost: v.MonthlyCost,
		},
		serial: v.MountID, status: v.Status,
	}
	if v.Type == vultr.StorageOpt {
		d.Type = volume.HDD
	}
	if v.AttachedTo != "" {
		d.AttachedTo = []string{v.AttachedTo}
	}
	return d
}

// blockType translates a disk type into the API's terms.
func blockType(t volume.DiskType) vultr.BlockType {
	if t == volume.HDD {
		return vultr.StorageOpt
	}
	return vultr.HighPerf
}
