package faults

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// snapshot is a snapshot's ladder of one rung.
type snapshot struct {
	*ladder

	p      *point
	name   string
	source *volume
	id     string
	// lists is how many lists of snapshots there had been when it was made.
	lists int
}

// newSnapshot describes a snapshot that is not made yet.
func (p *point) newSnapshot(source *volume) *snapshot {
	p.lives++
	s := &snapshot{ladder: &ladder{}, p: p, source: source, name: fmt.Sprintf("snapshot-%d", p.lives)}
	s.add(op{name: "snapshot", try: s.create, check: s.isTaken}, op{name: "delete snapshot", try: s.remove, check: s.isGone})
	s.whole, s.title = s.restores, func(o op) string { return o.name }
	return s
}

func (s *snapshot) create(ctx context.Context) error {
	answer, err := s.p.control().CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: s.name, SourceVolumeId: s.source.id})
	if err == nil {
		if id := answer.GetSnapshot().GetSnapshotId(); s.id != "" && s.id != id {
			return fmt.Errorf("first it was snapshot %s, now it is %s", s.id, id)
		}
		s.id = answer.GetSnapshot().GetSnapshotId()
		if s.lists == 0 {
			s.lists = s.p.cloud.Count("list_block_snapshots")
		}
	}
	return err
}

func (s *snapshot) remove(ctx context.Context) error {
	_, err := s.p.control().DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: s.id})
	return err
}

func (s *snapshot) isTaken() error {
	for _, snap := range s.p.cloud.Sim.View().Snapshots {
		if snap.ID == s.id && snap.BlockID == s.source.id && strings.HasSuffix(snap.Description, s.name) {
			return nil
		}
	}
	return fmt.Errorf("the platform has no snapshot %s of the name", s.id)
}

func (s *snapshot) isGone() error {
	for _, snap := range s.p.cloud.Sim.View().Snapshots {
		if snap.ID == s.id {
			return fmt.Errorf("the platform still has it: %+v", snap)
		}
	}
	return nil
}

// restores proves that a volume made from the snapshot has the data. Of two that were made in the same second both stay
// until the one that Kubernetes knows is deleted; so it lives until the driver has looked for another one.
func (s *snapshot) restores() {
	s.p.Helper()
	s.p.await("a look for another snapshot of the name", func(simulator.View) bool {
		return s.p.cloud.Count("list_block_snapshots") > s.lists
	})
	restored := s.p.restored(s.id, s.source)
	s.p.climb(restored.ladder, restored.top())
	restored.whole()
	s.p.climb(restored.ladder, nowhere)
}

// restored describes a volume that is made from a snapshot of the source.
func (p *point) restored(id string, source *volume) *volume {
	v := p.newVolume(use{remote: true})
	v.data = source.data
	v.source = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
		Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: id},
	}}
	return v
}

// cloned describes a volume that is a copy of the source.
func (p *point) cloned(source *volume) *volume {
	v := p.newVolume(use{remote: true})
	v.data = source.data
	v.source = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
		Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: source.id},
	}}
	return v
}

// temporary begins the descriptions of the snapshots by which clones are made.
const temporary = "block.csi.vultr.com: temporary copy of "

// sweep deletes the temporary snapshots that are left to the driver's hourly sweep, which TestCloneKilledAtEveryCall of
// the blockstore is about, and returns how many there were.
func (p *point) sweep() (left int) {
	p.Helper()
	for _, snap := range p.cloud.Sim.View().Snapshots {
		if !strings.HasPrefix(snap.Description, temporary) {
			continue
		}
		left++
		req, err := http.NewRequestWithContext(p.Context(), http.MethodDelete, p.cloud.URL+"/v2/blocks/snapshots/"+snap.ID, nil)
		if err != nil {
			p.Fatal(err)
		}
		resp, err := p.cloud.Client().Do(req)
		if err != nil {
			p.Fatal(err)
		}
		_ = resp.Body.Close() // it has none
		if resp.StatusCode != http.StatusNoContent {
			p.Errorf("deleting temporary snapshot %s: %s", snap.ID, resp.Status)
		}
	}
	return left
}
