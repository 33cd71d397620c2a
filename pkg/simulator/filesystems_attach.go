package simulator

import (
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// vfsAttachmentBody is an attachment as the API shows it.
type vfsAttachmentBody struct {
	VFSID    string `json:"vfs_id"`
	TargetID string `json:"target_id"`
	State    string `json:"state"`
	MountTag any    `json:"mount_tag"` // a number
}

func (s *Simulator) showAttachment(f fileSystem, a vfsAttachment) vfsAttachmentBody {
	out := vfsAttachmentBody{VFSID: f.ID, TargetID: a.Instance, State: a.State, MountTag: a.MountTag}
	if !s.keeps(quirkVFSTag) {
		out.MountTag = strconv.Itoa(a.MountTag)
	}
	return out
}

// instanceID returns the {instance} of the path.
func (c *call) instanceID() (string, error) {
	id := c.req.PathValue("instance")
	if err := uuid.Validate(id); err != nil {
		return "", wire.BadRequest("Invalid UUID format.")
	}
	return id, nil
}

func (s *Simulator) listVFSAttachments(c *call) (int, any, error) {
	f, ok := s.fileSystems.Get(c.id())
	if !ok {
		return 0, nil, errNoFileSystem
	}
	items := []vfsAttachmentBody{}
	for _, a := range f.Attachments {
		items = append(items, s.showAttachment(f, a))
	}
	return http.StatusOK, map[string]any{"attachments": items}, nil
}

func (s *Simulator) getVFSAttachment(c *call) (int, any, error) {
	instanceID, err := c.instanceID()
	if err != nil {
		return 0, nil, err
	}
	f, ok := s.fileSystems.Get(c.id())
	if !ok {
		return 0, nil, errNoFileSystem
	}
	i := f.at(instanceID)
	if i < 0 {
		return 0, nil, errNoAttachment
	}
	return http.StatusOK, s.showAttachment(f, f.Attachments[i]), nil
}

func (s *Simulator) attachFileSystem(c *call) (int, any, error) {
	instanceID, err := c.instanceID()
	if err != nil {
		return 0, nil, err
	}
	var f fileSystem
	var a vfsAttachment
	err = s.update(func(tx *store.Tx) error {
		var ok bool
		if f, ok = s.fileSystems.GetIn(tx, c.id()); !ok {
			return errNoFileSystem
		}
		if bad := s.mayAttachVFS(f, s.attachTarget(tx, instanceID), instanceID); bad != nil {
			return s.invalid(bad)
		}
		a = vfsAttachment{Instance: instanceID, MountTag: freeTag(mountTags(s.fileSystems.AllIn(tx))), State: vfsAttaching}
		s.fileSystems.Put(tx, f.ID, f.with(a))
		s.schedule(tx, jobVFSAttach, f.ID, instanceID, s.cfg.Delays.Attach, instanceID)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.showAttachment(f, a), nil // the status is unknown
}

func (s *Simulator) detachFileSystem(c *call) (int, any, error) {
	instanceID, err := c.instanceID()
	if err != nil {
		return 0, nil, err
	}
	err = s.update(func(tx *store.Tx) error {
		f, ok := s.fileSystems.GetIn(tx, c.id())
		if !ok {
			return errNoFileSystem
		}
		i := f.at(instanceID)
		if i < 0 {
			return errNoAttachment
		}
		a := f.Attachments[i]
		server, _ := s.instances.GetIn(tx, instanceID)
		switch {
		case a.State != vfsAttached:
			return s.invalid(conflict("The attachment is being changed."))
		case server.locked():
			return s.invalid(conflict("Server is currently locked"))
		}
		s.beginVFSDetach(tx, f, a)
		return nil
	})
	return s.noContent(), nil, err
}

// beginVFSDetach makes the end of an attachment due. Until then it is shown, and keeps the file system from being deleted.
func (s *Simulator) beginVFSDetach(tx *store.Tx, f fileSystem, a vfsAttachment) {
	if !s.keeps(quirkVFSLag) {
		s.fileSystems.Put(tx, f.ID, f.without(a.Instance))
		s.scheduleSettle(tx, jobVFSSettle, f.ID)
		return
	}
	a.State = vfsDetaching
	s.fileSystems.Put(tx, f.ID, f.with(a))
	s.schedule(tx, jobVFSDetach, f.ID, a.Instance, s.cfg.Delays.Detach, a.Instance)
}

// lingerVFS begins the end of the attachments of an instance that is being destroyed.
func (s *Simulator) lingerVFS(tx *store.Tx, instanceID string) {
	for _, f := range s.fileSystems.AllIn(tx) {
		if i := f.at(instanceID); i >= 0 && f.Attachments[i].State != vfsDetaching {
			s.beginVFSDetach(tx, f, f.Attachments[i])
		}
	}
}
