package blockstore

import (
	"context"
	"time"

	"k8s.io/utils/lru"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// places knows in which region volumes and instances are. Its rule is that what was learned holds: the platform moves
// neither, ever.
type places struct{ byID *lru.Cache }

// place is a region. What the platform says holds for ever; by says in words who else said so, and until when that is believed:
// people can change it.
type place struct {
	region, by string
	until      time.Time
}

// saidFor is how long it is believed in which region the cluster says that an instance is.
const saidFor = 10 * time.Minute

// placesKept bounds the memory; an entry takes about 200 bytes.
const placesKept = 10000

func newPlaces() places { return places{lru.New(placesKept)} }

func (p places) learn(id, region string) { p.byID.Add(id, place{region: region}) }

// of returns the region, "" when it is unknown.
func (p places) of(id string) string { return p.at(id).region }

func (p places) at(id string) place {
	known, _ := p.byID.Get(id)
	at, _ := known.(place)
	if at.by != "" && time.Now().After(at.until) {
		return place{}
	}
	return at
}

// apart returns the error of an attach across regions when both are known.
func (p places) apart(id, instance string) error {
	of, at := p.of(id), p.of(instance)
	if of == "" || at == "" || of == at {
		return nil
	}
	by := ""
	if said := p.at(instance).by; said != "" {
		by = " " + said
	}
	return volume.Errorf(volume.Invalid, "volume %s is in region %s, instance %s is in %s%s: %w", id, of, instance, at, by, volume.ErrOtherRegion)
}

// Locate asks the cluster in which region an instance is, if that is not known.
func (s *Store) Locate(ctx context.Context, instance string) {
	if s.opts.RegionOf == nil || s.places.of(instance) != "" {
		return
	}
	if region, by := s.opts.RegionOf(ctx, instance); region != "" {
		s.places.byID.Add(instance, place{region: region, by: by, until: time.Now().Add(saidFor)})
	}
}
