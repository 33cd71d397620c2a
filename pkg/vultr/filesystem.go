package vultr

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/vultr/govultr/v3"
)

const (
	fileSystemsPath = "/v2/vfs"
	// fileSystemDisk is the only kind of disk that the platform has under file systems.
	fileSystemDisk = "nvme"
)

var (
	opResizeFileSystem  = operation{name: "resize_vfs", words: "resize file system", method: http.MethodPut}
	opChangeFileSystem  = operation{name: "change_vfs", words: "resize and relabel file system", method: http.MethodPut}
	opRelabelFileSystem = operation{name: "relabel_vfs", words: "relabel file system", method: http.MethodPut}
	opWaitFileSystem    = operation{name: "wait_vfs", words: "wait for file system", method: http.MethodGet}
)

// The API sends file systems unwrapped, with a status in words where its errors have a number. That is why govultr from
// v3.33.2 on decodes none of them.
var fileSystems = resource[govultr.VirtualFileSystemStorage, FileSystem]{
	path: fileSystemsPath, one: []string{"vfs"}, many: "vfs",
	ops: operationsOn("vfs", "vfs", "file system", "file systems"),
	id:  func(f FileSystem) string { return f.ID }, domain: fileSystemOf,
}

// FileSystem is one file system (VFS), which any number of instances of its region can mount.
type FileSystem struct {
	ID        string // UUID
	Label     string // not unique on the platform
	Region    string // lower case, "ewr"
	Status    string // "pending", "active", and what the platform may add
	SizeGB    int
	UsedBytes int64
	DiskType  string // "nvme"
	Tags      []string
	Created   time.Time
	// MonthlyCost is in dollars.
	MonthlyCost float64
}

// Active reports whether the file system can be attached.
func (f FileSystem) Active() bool { return f.Status == "active" }

// FileSystemRequest describes a file system to create.
type FileSystemRequest struct {
	Label  string
	Region string
	SizeGB int
	Tags   []string
}

// FileSystem reads one file system. Only its IsNotFound proves that it does not exist.
func (c *Client) FileSystem(ctx context.Context, id string) (FileSystem, error) {
	return fileSystems.read(ctx, c, id)
}

// FileSystemNow reads one file system, and returns the time as of which the answer holds. Only IsNotFound proves that it
// does not exist.
func (c *Client) FileSystemNow(ctx context.Context, id string) (FileSystem, time.Time, error) {
	s := &sent{}
	f, err := fileSystems.read(context.WithValue(ctx, sentKey{}, s), c, id)
	return f, s.time(), err
}

// FileSystemListed returns one file system as a list shows it, as VolumeListed does a volume.
func (c *Client) FileSystemListed(ctx context.Context, id string, maxAge time.Duration) (FileSystem, time.Time, error) {
	return listed(ctx, c, fileSystems, c.fileSystems, id, maxAge)
}

// FileSystems lists all file systems of the account. The list is shared: its items must not be changed. With maxAge 0 it
// began after the call, else it can be up to maxAge old.
func (c *Client) FileSystems(ctx context.Context, maxAge time.Duration) (List[FileSystem], error) {
	return sharedList(ctx, c.fileSystems, fileSystems.ops.list, maxAge)
}

// CreateFileSystem asks for a file system, which becomes active some seconds later. The request is sent once, and again
// only after the API refused it for its rate. With IsOutcomeUnknown it may exist: look for its label, and mind
// SettleGuard.
func (c *Client) CreateFileSystem(ctx context.Context, r FileSystemRequest) (FileSystem, error) {
	return fileSystems.make(ctx, c, r.Label, &govultr.VirtualFileSystemStorageReq{
		Region: r.Region, Label: r.Label, DiskType: fileSystemDisk, Tags: r.Tags,
		StorageSize: govultr.VirtualFileSystemStorageSize{SizeGB: r.SizeGB},
	})
}

// errLargeEnough says that a file system has the size already.
var errLargeEnough = errors.New("the file system is large enough")

// ResizeFileSystem grows a file system. It succeeds if the file system has at least that size already. The platform
// would also make it smaller, so the size is read before each attempt: an earlier one may have been overtaken by
// somebody else's growth.
func (c *Client) ResizeFileSystem(ctx context.Context, id string, sizeGB int) error {
	err := c.growFileSystem(ctx, opResizeFileSystem, id, sizeGB, map[string]any{})
	if errors.Is(err, errLargeEnough) {
		return nil
	}
	return err
}

// ChangeFileSystem grows a file system and gives it another label, in one call. One that has at least that size already
// gets the label alone, and is as large as before.
func (c *Client) ChangeFileSystem(ctx context.Context, id string, sizeGB int, label string) error {
	err := c.growFileSystem(ctx, opChangeFileSystem, id, sizeGB, map[string]any{"label": label})
	if errors.Is(err, errLargeEnough) {
		return c.RelabelFileSystem(ctx, id, label)
	}
	return err
}

// growFileSystem sends a size with other changes, or returns errLargeEnough and has sent nothing.
func (c *Client) growFileSystem(ctx context.Context, op operation, id string, sizeGB int, body map[string]any) error {
	body["storage_size"] = map[string]int{"gb": sizeGB}
	smaller := func(ctx context.Context) error {
		f, err := c.FileSystem(ctx, id)
		if err == nil && f.SizeGB >= sizeGB {
			err = errLargeEnough
		}
		return err
	}
	err := fileSystems.change(ctx, c, op, id, "", body, smaller)
	if errors.Is(err, errLargeEnough) {
		return errLargeEnough
	}
	return preconditionsOwn(err)
}

// RelabelFileSystem gives a file system another label. Its size is not sent: what is not sent stays as it is.
func (c *Client) RelabelFileSystem(ctx context.Context, id, label string) error {
	return fileSystems.change(ctx, c, opRelabelFileSystem, id, "", map[string]any{"label": label})
}

// DeleteFileSystem deletes a file system and its data. IsNotFound means that it was gone before, IsInUse that an
// instance has it, or had it until a moment ago.
func (c *Client) DeleteFileSystem(ctx context.Context, id string, preconditions ...Precondition) error {
	return fileSystems.remove(ctx, c, id, preconditions...)
}

func fileSystemOf(f govultr.VirtualFileSystemStorage) FileSystem {
	return FileSystem{
		ID: f.ID, Label: f.Label, Region: strings.ToLower(f.Region), Status: f.Status, SizeGB: f.StorageSize.SizeGB,
		UsedBytes: int64(f.StorageUsed.SizeBytes), DiskType: f.DiskType, Tags: f.Tags, Created: parseTime(f.DateCreated),
		MonthlyCost: float64(f.Billing.Monthly),
	}
}

// fileSystemRegion is a region in the list of those that sell file systems. Nothing says whether the API sends objects
// like those of other regions or bare names.
type fileSystemRegion struct{ id string }

// UnmarshalJSON takes either form.
func (r *fileSystemRegion) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &r.id) == nil {
		return nil
	}
	var object struct {
		ID string `json:"id"`
	}
	err := json.Unmarshal(data, &object)
	r.id = object.ID
	return err
}

var fileSystemRegions = resource[fileSystemRegion, string]{
	path: fileSystemsPath + "/regions", many: "regions",
	ops: operationsOn("vfs_region", "vfs_regions", "file system region", "regions with file systems"),
	id:  func(id string) string { return id }, domain: func(r fileSystemRegion) string { return strings.ToLower(r.id) },
}

// FileSystemRegions returns the IDs of the regions that sell file systems. What it answers can be 10 minutes old.
func (c *Client) FileSystemRegions(ctx context.Context) ([]string, error) {
	list, err := sharedList(ctx, c.fileSystemRegions, fileSystemRegions.ops.list, catalogMaxAge)
	return list.Items, err
}
