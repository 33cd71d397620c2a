package blockstore

import (
	"k8s.io/utils/lru"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// places knows in which region volumes and instances are. Its rule is that what was learned holds: the platform moves
// neither, ever.
type places struct{ byID *lru.Cache }

// placesKept bounds the memory; an entry takes about 200 bytes.
const placesKept = 10000

func newPlaces() places { return places{lru.New(placesKept)} }

func (p places) learn(id, region string) { p.byID.Add(id, region) }

// of returns the region, "" when it is unknown.
func (p places) of(id string) string {
	region, _ := p.byID.Get(id)
	known, _ := region.(string)
	return known
}

// apart returns the error of an attach across regions when both are known.
func (p places) apart(id, instance string) error {
	of, at := p.of(id), p.of(instance)
	if of == "" || at == "" || of == at {
		return nil
	}
	return volume.Errorf(volume.Invalid, "volume %s is in region %s, instance %s is in %s", id, of, instance, at)
}
