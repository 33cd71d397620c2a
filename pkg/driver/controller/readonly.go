package controller

import (
	"context"
	"time"

	"k8s.io/utils/lru"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const (
	// publicationsKept bounds the memory; an entry takes about 200 bytes.
	publicationsKept = 10000
	// publicationFor is how long it is held against a publish how the volume was published before: meanwhile another
	// controller may have led, and published it again.
	publicationFor = 10 * time.Minute
)

// publications are how this process published volumes to nodes. The platform attaches a volume in one way only, so it
// knows nothing of that; a process that was just started refuses nothing, and then it is the node that does.
type publications struct{ byPlace *lru.Cache }

type place struct{ id, node string }

type publication struct {
	readOnly bool
	at       time.Time
}

func newPublications() publications { return publications{lru.New(publicationsKept)} }

func (p publications) as(id, node string, readOnly bool) {
	p.byPlace.Add(place{id, node}, publication{readOnly, time.Now()})
}

func (p publications) forget(id, node string) { p.byPlace.Remove(place{id, node}) }

// differs reports whether the volume was published to the node otherwise, a while ago at most.
func (p publications) differs(id, node string, readOnly bool) bool {
	known, _ := p.byPlace.Get(place{id, node})
	was, ok := known.(publication)
	return ok && was.readOnly != readOnly && time.Since(was.at) < publicationFor
}

// checkReadOnly refuses to publish a volume read-only to a node that has it to be written to, and the reverse. One that
// another controller detached meanwhile is no longer published.
func (s *Service) checkReadOnly(ctx context.Context, id, node string, readOnly bool) error {
	if !s.published.differs(id, node, readOnly) {
		return nil
	}
	_, v, err := s.read(ctx, id)
	if err != nil {
		return err
	}
	if !v.IsAttachedTo(node) {
		s.published.forget(id, node)
		return nil
	}
	return volume.Errorf(volume.Exists, "volume %s is published to node %s with read-only %t, and cannot be published there with read-only %t as well: "+
		"unpublish it first", id, node, !readOnly, readOnly)
}
