package blockstore

import (
	"context"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/lru"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// places knows in which region volumes and instances are. Its rule is that what the platform said holds: it moves neither,
// ever. What the cluster says is a hint: people can change a label, and a kubelet can name an instance that it is not.
type places struct{ byID, hints *lru.Cache }

// hint is the region of an instance by what the cluster said of its node, "" if it said nothing; by says in words what that was.
type hint struct {
	region, by string
	until      time.Time
}

const (
	// hintFor is how long the cluster is not asked again about an instance.
	hintFor = 10 * time.Minute
	// locateFor bounds the look at an instance before an order, which the platform answers as well.
	locateFor = 5 * time.Second
)

// placesKept bounds the memory; an entry takes about 200 bytes.
const placesKept = 10000

func newPlaces() places { return places{byID: lru.New(placesKept), hints: lru.New(placesKept)} }

func (p places) learn(id, region string) { p.byID.Add(id, region) }

// of returns the region, "" when it is unknown.
func (p places) of(id string) string {
	region, _ := p.byID.Get(id)
	known, _ := region.(string)
	return known
}

// hinted returns what the cluster said of the instance lately.
func (p places) hinted(instance string) (h hint, lately bool) {
	known, _ := p.hints.Get(instance)
	h, ok := known.(hint)
	return h, ok && time.Now().Before(h.until)
}

// apart returns the error of an attach across regions when both are known.
func (p places) apart(id, instance string) error {
	of, at := p.of(id), p.of(instance)
	if of == "" || at == "" || of == at {
		return nil
	}
	return volume.Errorf(volume.Invalid, "volume %s is in region %s, instance %s is in %s: %w", id, of, instance, at, volume.ErrOtherRegion)
}

// Locate looks at an instance before a volume is ordered to it, if by what the cluster says it is in another region than the
// volume: an order that the platform would refuse need not be sent to find that out. It decides nothing by itself: a hint that
// is wrong or missing keeps no volume from its instance.
func (s *Store) Locate(ctx context.Context, id, instance string) {
	of := s.places.of(id)
	if s.opts.RegionOf == nil || of == "" || s.places.of(instance) != "" {
		return
	}
	said, lately := s.places.hinted(instance)
	if !lately {
		said = hint{until: time.Now().Add(hintFor)}
		said.region, said.by = s.opts.RegionOf(ctx, instance)
		s.places.hints.Add(instance, said)
	}
	if said.region == "" || said.region == of {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, locateFor)
	defer cancel()
	i, err := s.api.Instance(ctx, instance)
	if err != nil {
		klog.FromContext(ctx).V(2).Info("An instance could not be read, the attach is sent and the platform decides", "instanceID", instance, "err", err)
		return
	}
	s.places.learn(instance, i.Region)
	if i.Region != said.region {
		klog.FromContext(ctx).Info("The cluster names another region of an instance than the platform, which is believed",
			"instanceID", instance, "region", i.Region, "named", said.region, "by", said.by)
	}
}
