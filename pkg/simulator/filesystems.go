package simulator

import (
	"cmp"
	"context"
	"iter"
	"net/http"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// fileSystem is one file system (VFS), which any number of instances of its region can mount.
type fileSystem struct {
	head
	Label       string          `json:"label"`
	Region      string          `json:"region"`
	SizeGB      int             `json:"size_gb"`
	Tags        []string        `json:"tags"`
	Active      bool            `json:"active"`
	Attachments []vfsAttachment `json:"attachments,omitempty"` // in the order of their making
}

// vfsAttachment is a file system plugged into an instance, also while that is under way and for a while after the
// instance is gone.
type vfsAttachment struct {
	Instance string `json:"instance"`
	MountTag int    `json:"mount_tag"`
	State    string `json:"state"`
	// Holder names what kept the file system from being unplugged at the last try.
	Holder string `json:"holder,omitempty"`
}

// The states of attachments. Only vfsAttached was seen of the platform; its words for the others are unknown.
const (
	vfsAttaching = "ATTACHING"
	vfsAttached  = "ATTACHED"
	vfsDetaching = "DETACHING"
)

const diskNVMe = "nvme"

var fileSystemRoutes = []route{
	{method: "GET", path: "/v2/vfs/regions", operation: "list_vfs_regions", handle: (*Simulator).listFileSystemRegions},
	{method: "GET", path: "/v2/vfs", operation: "list_vfs", handle: (*Simulator).listFileSystems},
	{method: "POST", path: "/v2/vfs", operation: "create_vfs", handle: (*Simulator).createFileSystem},
	{method: "GET", path: "/v2/vfs/{id}", operation: "get_vfs", handle: (*Simulator).getFileSystem},
	{method: "PUT", path: "/v2/vfs/{id}", operation: "update_vfs", handle: (*Simulator).updateFileSystem},
	{method: "DELETE", path: "/v2/vfs/{id}", operation: "delete_vfs", handle: (*Simulator).deleteFileSystem},
	{method: "GET", path: "/v2/vfs/{id}/attachments", operation: "list_vfs_attachments", handle: (*Simulator).listVFSAttachments},
	{method: "GET", path: "/v2/vfs/{id}/attachments/{instance}", operation: "get_vfs_attachment", handle: (*Simulator).getVFSAttachment},
	{method: "PUT", path: "/v2/vfs/{id}/attachments/{instance}", operation: "attach_vfs", handle: (*Simulator).attachFileSystem},
	{method: "DELETE", path: "/v2/vfs/{id}/attachments/{instance}", operation: "detach_vfs", handle: (*Simulator).detachFileSystem},
}

var (
	errNoFileSystem = wire.NotFound("Subscription ID Not Found")
	errNoAttachment = wire.NotFound("Attachment Not Found")
	// The spelling is the platform's. Of its status only a list of possible ones is known.
	errStillAttached = wire.Errorf(http.StatusConflict, "Can not delete this subscription until it is detatched from all machines") //nolint:misspell // the platform's
)

// vfsSize is a size as the API shows it, twice.
type vfsSize struct {
	Bytes int64 `json:"bytes"`
	GB    int   `json:"gb"`
}

func sizeOf(bytes int64) vfsSize { return vfsSize{Bytes: bytes, GB: int(bytes >> 30)} }

// fileSystemBody is a file system as the API shows it. It is never wrapped.
type fileSystemBody struct {
	ID          string   `json:"id"`
	Region      string   `json:"region"`
	DateCreated string   `json:"date_created"`
	Status      string   `json:"status"`
	Label       string   `json:"label"`
	Tags        []string `json:"tags"`
	DiskType    string   `json:"disk_type"`
	StorageSize vfsSize  `json:"storage_size"`
	StorageUsed vfsSize  `json:"storage_used"`
	Billing     struct {
		Charges float64 `json:"charges"`
		Monthly float64 `json:"monthly"`
	} `json:"billing"`
}

func (f fileSystem) sizeBytes() int64 { return int64(f.SizeGB) << 30 }

// showFileSystem asks the data plane how much of the file system is used.
func (s *Simulator) showFileSystem(ctx context.Context, f fileSystem) (fileSystemBody, error) {
	used, err := s.usedBytes(ctx, f)
	out := fileSystemBody{
		ID: f.ID, Region: f.Region, DateCreated: wire.Time(f.Created), Status: statusPending, Label: f.Label,
		Tags: orEmpty(f.Tags), DiskType: diskNVMe, StorageSize: sizeOf(f.sizeBytes()), StorageUsed: sizeOf(used),
	}
	// The one price that is known is 1 for 10 GB.
	out.Billing.Monthly = float64(f.SizeGB) / 10
	if f.Active {
		out.Status = statusActive
	}
	return out, err
}

// one answers a single file system.
func (s *Simulator) one(ctx context.Context, status int, f fileSystem) (int, any, error) {
	body, err := s.showFileSystem(ctx, f)
	if err != nil {
		return 0, nil, err
	}
	if !s.keeps(quirkVFSBare) {
		return status, map[string]any{"vfs": body}, nil
	}
	return status, body, nil
}

// listFileSystemRegions: the form of the answer is unknown, and so is which regions there are.
func (s *Simulator) listFileSystemRegions(*call) (int, any, error) {
	regions := []region{}
	for _, r := range allRegions {
		if r.sells(optionHighPerf) {
			regions = append(regions, r)
		}
	}
	return http.StatusOK, map[string]any{"regions": regions}, nil
}

// listFileSystems answers all at once: of this list no paging is known, and no meta.
func (s *Simulator) listFileSystems(c *call) (int, any, error) {
	items := []any{}
	for _, f := range sorted(s.fileSystems.All(), func(f fileSystem) int64 { return f.Seq }) {
		body, err := s.showFileSystem(c.req.Context(), f)
		if err != nil {
			return 0, nil, err
		}
		items = append(items, body)
	}
	out := map[string]any{"vfs": items}
	if !s.keeps(quirkVFSMeta) {
		out["meta"] = wire.Meta{Total: len(items)}
	}
	return http.StatusOK, out, nil
}

func (s *Simulator) getFileSystem(c *call) (int, any, error) {
	f, ok := s.fileSystems.Get(c.id())
	if !ok {
		return 0, nil, errNoFileSystem
	}
	return s.one(c.req.Context(), http.StatusOK, f)
}

func (s *Simulator) createFileSystem(c *call) (int, any, error) {
	var req createFileSystemRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	f, bad := s.newFileSystem(req)
	if bad != nil {
		return 0, nil, s.invalid(bad)
	}
	err := s.update(func(tx *store.Tx) error {
		f.Active = !s.keeps(quirkAsynchronous)
		s.fileSystems.Put(tx, f.ID, f)
		s.schedule(tx, jobVFSActivate, f.ID, "", s.cfg.Delays.FileSystem)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.one(c.req.Context(), s.created(), f) // the status is unknown
}

func (s *Simulator) updateFileSystem(c *call) (int, any, error) {
	var req updateFileSystemRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	old, ok := s.fileSystems.Get(c.id())
	if !ok {
		return 0, nil, errNoFileSystem
	}
	// Asked before the change: it takes its time, and what a guest writes meanwhile is its own affair.
	used, err := s.usedBytes(c.req.Context(), old)
	if err != nil {
		return 0, nil, err
	}
	var f fileSystem
	err = s.update(func(tx *store.Tx) error {
		if f, ok = s.fileSystems.GetIn(tx, c.id()); !ok {
			return errNoFileSystem
		}
		var bad *wire.Error
		if f, bad = s.changedFileSystem(f, req, used); bad != nil {
			return s.invalid(bad)
		}
		s.fileSystems.Put(tx, f.ID, f)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.one(c.req.Context(), http.StatusOK, f)
}

func (s *Simulator) deleteFileSystem(c *call) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		f, ok := s.fileSystems.GetIn(tx, c.id())
		switch {
		case !ok:
			return errNoFileSystem
		case len(f.Attachments) > 0:
			return errStillAttached
		}
		s.fileSystems.Delete(tx, f.ID)
		s.scheduleSettle(tx, jobVFSSettle, f.ID)
		return nil
	})
	return s.noContent(), nil, err
}

// at returns the position of the instance's attachment, -1 if there is none.
func (f fileSystem) at(instanceID string) int {
	return slices.IndexFunc(f.Attachments, func(a vfsAttachment) bool { return a.Instance == instanceID })
}

// with returns the file system with this attachment in the place of the instance's, or added.
func (f fileSystem) with(a vfsAttachment) fileSystem {
	f.Attachments = slices.Clone(f.Attachments)
	if i := f.at(a.Instance); i >= 0 {
		f.Attachments[i] = a
	} else {
		f.Attachments = append(f.Attachments, a)
	}
	return f
}

// without returns the file system without the instance's attachment.
func (f fileSystem) without(instanceID string) fileSystem {
	f.Attachments = slices.DeleteFunc(slices.Clone(f.Attachments), func(a vfsAttachment) bool { return a.Instance == instanceID })
	return f
}

// mountTags are the mount tags that are taken, of all file systems.
func mountTags(all iter.Seq2[string, fileSystem]) []int {
	var tags []int
	for _, f := range all {
		for _, a := range f.Attachments {
			tags = append(tags, a.MountTag)
		}
	}
	slices.SortFunc(tags, cmp.Compare)
	return tags
}
