package vfsstage

import (
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Examine returns what is wrong with a volume on this node, by the paths at which it is or was to be; without any, wherever
// its file system is mounted. It is NotFound when neither a record nor a mount of the volume is here. It may hang.
func (s *Stager) Examine(volumeID string, paths ...string) ([]volume.Condition, error) {
	record, err := s.cfg.State.Staged(volumeID)
	if err != nil {
		return nil, err
	}
	table, err := mount.Read()
	if err != nil {
		return nil, err
	}
	places := s.places(table, record, paths)
	if record == nil && len(places) == 0 {
		return nil, volume.Errorf(volume.NotFound, "volume %s is not on this node: it is not staged, and nothing is mounted where it is asked for", volumeID)
	}
	var all []volume.Condition
	for _, e := range places {
		if tag, shared := s.tags.TagOf(table, e); record != nil && shared && tag != record.Serial {
			all = append(all, volume.Condition{Severity: volume.Inaccessible, Reason: "WrongFileSystem", Message: fmt.Sprintf(
				"at %s the shared file system with tag %s is mounted, but the volume's has tag %s", e.Path, tag, record.Serial)})
			continue
		}
		if err := mount.ReadRoot(e.Path); mount.IsDead(err) {
			all = append(all, volume.Condition{Severity: volume.Inaccessible, Reason: "MountDead", Message: fmt.Sprintf(
				"the shared file system mounted at %s is dead: %v. When the pods that use it are restarted, it is mounted again", e.Path, err)})
		}
	}
	return all, nil
}

// places are the mounts to look at.
func (s *Stager) places(table mount.Table, record *state.Staged, paths []string) mount.Table {
	var all mount.Table
	for _, path := range paths {
		if e, mounted := table.At(path); mounted {
			all = append(all, e)
		}
	}
	if len(paths) > 0 || record == nil {
		return all
	}
	for _, e := range table {
		if tag, shared := s.tags.TagOf(table, e); shared && tag == record.Serial && !s.tags.Shows(e) {
			all = append(all, e)
		}
	}
	return all
}
