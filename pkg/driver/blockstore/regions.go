package blockstore

import (
	"context"
	"strings"
	"sync"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// mostRegions bounds the memory for regions; one entry takes about a hundred bytes.
const mostRegions = 10000

// regions remembers where volumes and instances are: the platform moves neither, ever. Its zero value is ready.
type regions struct {
	mu   sync.Mutex
	byID map[string]string
}

func (r *regions) learn(id, region string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil || len(r.byID) >= mostRegions {
		r.byID = map[string]string{}
	}
	r.byID[strings.ToLower(id)] = region
}

func (r *regions) of(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[strings.ToLower(id)]
}

// knownApart gives the error of an attach across regions when both are known.
func (s *Store) knownApart(id, instance string) error {
	of, at := s.regions.of(id), s.regions.of(instance)
	if of == "" || at == "" || of == at {
		return nil
	}
	return volume.Errorf(volume.Invalid, "volume %s is in region %s, instance %s is in %s", id, of, instance, at)
}

// foundApart is knownApart after a refusal that says nothing and a look at the instance, if the volume's region is
// known. nil explains nothing.
func (s *Store) foundApart(ctx context.Context, id, instance string, cause error) error {
	if !vultr.IsInvalid(cause) || vultr.IsAlreadyAttached(cause) || vultr.IsLocked(cause) || vultr.IsNothingToChange(cause) {
		return nil
	}
	if s.regions.of(id) == "" || s.regions.of(instance) != "" {
		return nil
	}
	i, err := s.api.Instance(ctx, instance)
	if err != nil {
		return nil //nolint:nilerr // whoever explains the refusal asks again, and says what is wrong
	}
	s.regions.learn(instance, i.Region)
	return s.knownApart(id, instance)
}
