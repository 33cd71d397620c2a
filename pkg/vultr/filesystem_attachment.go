package vultr

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vultr/govultr/v3"
	"k8s.io/utils/lru"
)

var (
	opAttachFileSystem = operation{name: "attach_vfs", words: "attach file system", method: http.MethodPut}
	opDetachFileSystem = operation{name: "detach_vfs", words: "detach file system", method: http.MethodDelete}
	opWaitAttachment   = operation{name: "wait_vfs_attachment", words: "wait for an attachment of file system", method: http.MethodGet}
)

var attachments = resource[govultr.VirtualFileSystemStorageAttachment, FileSystemAttachment]{
	one: []string{"attachment"}, many: "attachments",
	ops: operationsOn("vfs_attachment", "vfs_attachments", "attachment of file system to instance", "attachments of file system"),
	id:  func(a FileSystemAttachment) string { return a.InstanceID }, domain: attachmentOf,
}

// FileSystemAttachment is a file system plugged into an instance. The zero value stands for one that does not exist.
type FileSystemAttachment struct {
	FileSystemID string
	InstanceID   string
	State        string // "ATTACHED", and what the platform may add
	// MountTag is what the guest mounts: mount -t virtiofs <tag> <directory>. "" while the platform has given none.
	MountTag string
}

// Attached reports whether the guest can mount the file system.
func (a FileSystemAttachment) Attached() bool {
	return strings.EqualFold(a.State, "attached") && a.MountTag != ""
}

// FileSystemAttachments lists the instances that have the file system. The list is shared by all who ask about the file
// system: its items must not be changed. With maxAge 0 it began after the call, else it can be up to maxAge old.
// IsNotFound says that there is no such file system.
func (c *Client) FileSystemAttachments(ctx context.Context, id string, maxAge time.Duration) (List[FileSystemAttachment], error) {
	if err := checkID(attachments.ops.list, id); err != nil {
		return List[FileSystemAttachment]{}, err
	}
	return sharedList(ctx, c.attachments.of(c, id), attachments.ops.list, maxAge)
}

// FileSystemAttachment reads one attachment. IsNotAttached means that the instance does not have the file system,
// IsNotFound without it that there is no such file system.
func (c *Client) FileSystemAttachment(ctx context.Context, id, instanceID string) (FileSystemAttachment, error) {
	return c.attachment(ctx, attachments.ops.get, id, instanceID)
}

// AttachFileSystem asks for a file system to be plugged into an instance; WaitFileSystemAttachment tells when it is.
// IsNotFound can mean either of the two. IsConflict is also the answer when the instance has the file system already,
// perhaps by an attempt of this call whose answer was lost, and while it is being taken from there: look at the
// attachments.
func (c *Client) AttachFileSystem(ctx context.Context, id, instanceID string, preconditions ...Precondition) (FileSystemAttachment, error) {
	return c.attachment(ctx, opAttachFileSystem, id, instanceID, preconditions...)
}

// DetachFileSystem asks for a file system to be unplugged from an instance; WaitFileSystemAttachment tells when it is.
// It can be repeated: IsNotAttached means that nothing was left to do, with IsOutcomeUnknown perhaps because an earlier
// attempt of the call did it, and IsConflict that it is under way.
func (c *Client) DetachFileSystem(ctx context.Context, id, instanceID string) error {
	if err := checkID(opDetachFileSystem, id); err != nil {
		return err
	}
	return attachmentsOf(id).change(ctx, c, opDetachFileSystem, instanceID, "", nil)
}

// WaitFileSystemAttachment waits until done returns true for an attachment, which is the zero value while there is none.
// IsNotFound says that there is no such file system. The API lists the attachments of one file system only: all who wait
// for the same one share the lists.
func (c *Client) WaitFileSystemAttachment(ctx context.Context, id, instanceID string, done func(FileSystemAttachment) (bool, error)) (FileSystemAttachment, error) {
	for _, one := range []string{id, instanceID} {
		if err := checkID(opWaitAttachment, one); err != nil {
			return FileSystemAttachment{}, err
		}
	}
	lists := c.attachments.of(c, id)
	return await(ctx, c, wait[FileSystemAttachment]{
		op: opWaitAttachment, resource: id, part: instanceID, lesson: "file system attachment", done: done,
		look: func(ctx context.Context, notBefore time.Time) (FileSystemAttachment, time.Time, error) {
			list, err := lists.since(ctx, notBefore)
			if err != nil {
				return FileSystemAttachment{}, time.Time{}, ended(attachments.ops.list, err)
			}
			for _, a := range list.Items {
				if strings.EqualFold(a.InstanceID, instanceID) {
					return a, list.Began, nil
				}
			}
			if list.short != nil {
				return FileSystemAttachment{}, time.Time{}, list.short // it proves no absence
			}
			return FileSystemAttachment{}, list.Began, nil
		},
	})
}

func (c *Client) attachment(ctx context.Context, op operation, id, instanceID string, preconditions ...Precondition) (FileSystemAttachment, error) {
	if err := checkID(op, id); err != nil {
		return FileSystemAttachment{}, err
	}
	return attachmentsOf(id).call(ctx, c, op, instanceID, nil, preconditions...)
}

func attachmentsOf(id string) resource[govultr.VirtualFileSystemStorageAttachment, FileSystemAttachment] {
	return attachments.under(fileSystemsPath + "/" + id + "/attachments")
}

func attachmentOf(a govultr.VirtualFileSystemStorageAttachment) FileSystemAttachment {
	out := FileSystemAttachment{FileSystemID: a.ID, InstanceID: a.TargetID, State: a.State}
	if a.MountTag != 0 {
		out.MountTag = strconv.Itoa(a.MountTag)
	}
	return out
}

// attachmentListsKept bounds the memory for lists of attachments.
const attachmentListsKept = 4096

// attachmentLists are the shared lists of attachments, one for each file system that somebody asked about.
type attachmentLists struct {
	mu   sync.Mutex
	byID *lru.Cache
}

// of returns the file system's list.
func (l *attachmentLists) of(c *Client, id string) *shared[FileSystemAttachment] {
	id = strings.ToLower(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil {
		l.byID = lru.New(attachmentListsKept)
	}
	if known, ok := l.byID.Get(id); ok {
		if list, ok := known.(*shared[FileSystemAttachment]); ok {
			return list
		}
	}
	list := share(c, "vfs_attachments", everyOne(c, attachmentsOf(id)))
	l.byID.Add(id, list)
	return list
}
