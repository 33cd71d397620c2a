package simulator

import (
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

type sizeRequest struct {
	GB int `json:"gb"`
}

type createFileSystemRequest struct {
	Region   string      `json:"region"`
	Label    string      `json:"label"`
	Size     sizeRequest `json:"storage_size"`
	DiskType string      `json:"disk_type"`
	Tags     []string    `json:"tags"`
}

type updateFileSystemRequest struct {
	Label *string      `json:"label"`
	Size  *sizeRequest `json:"storage_size"`
}

// minVFS and maxVFS are the bounds of a file system's size in GB. The upper one is an assumption: that of volumes.
const (
	minVFS = 10
	maxVFS = 10000
)

// unprocessable is the refusal of a request's content by the products that came later. None of its texts is known.
func unprocessable(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusUnprocessableEntity, format, args...)
}

// conflict is the refusal of what the present state does not allow. None of its texts is known.
func conflict(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusConflict, format, args...)
}

// invalid gives a refusal the status of the older products in a cloud that does not tell them apart.
func (s *Simulator) invalid(bad *wire.Error) *wire.Error {
	if s.keeps(quirkVFSValidation) {
		return bad
	}
	return wire.BadRequest("%s", bad.Text) // what is unknown of the text is marked where it is made
}

func (s *Simulator) newFileSystem(req createFileSystemRequest) (fileSystem, *wire.Error) {
	r, ok := findRegion(req.Region)
	switch {
	case !ok:
		return fileSystem{}, unprocessable("Invalid region.")
	case !r.sells(optionHighPerf):
		return fileSystem{}, unprocessable("File systems are not available in this region.")
	case req.Label == "":
		return fileSystem{}, unprocessable("Invalid label: it must not be empty.")
	case req.DiskType != "" && req.DiskType != diskNVMe:
		return fileSystem{}, unprocessable("Invalid disk_type: must be %s.", diskNVMe)
	}
	if bad := checkVFSSize(req.Size.GB); bad != nil {
		return fileSystem{}, bad
	}
	return fileSystem{head: s.newHead(), Label: req.Label, Region: req.Region, SizeGB: req.Size.GB, Tags: slices.Clone(req.Tags)}, nil
}

func checkVFSSize(gb int) *wire.Error {
	if gb < minVFS || gb > maxVFS {
		return unprocessable("Invalid storage_size: must be between %d and %d GB.", minVFS, maxVFS)
	}
	return nil
}

// changedFileSystem is the file system after an update, or why it is refused. It can grow and shrink.
func (s *Simulator) changedFileSystem(f fileSystem, req updateFileSystemRequest, used int64) (fileSystem, *wire.Error) {
	if req.Label != nil {
		if *req.Label == "" {
			return f, unprocessable("Invalid label: it must not be empty.")
		}
		f.Label = *req.Label
	}
	// Clients that change only the label send a size of 0 along.
	if req.Size == nil || req.Size.GB == 0 {
		return f, nil
	}
	if bad := checkVFSSize(req.Size.GB); bad != nil {
		return f, bad
	}
	f.SizeGB = req.Size.GB
	if f.sizeBytes() < used && s.keeps(quirkVFSShrink) {
		return f, unprocessable("Invalid storage_size: %d GB are in use.", (used+1<<30-1)>>30)
	}
	return f, nil
}

// mayAttachVFS judges an attach of a file system.
func (s *Simulator) mayAttachVFS(f fileSystem, t attachTarget, instanceID string) *wire.Error {
	if i := f.at(instanceID); i >= 0 {
		if f.Attachments[i].State == vfsDetaching {
			return conflict("File system is being detached from this server.")
		}
		return conflict("File system is already attached to this server.")
	}
	if len(f.Attachments) > 0 && !s.keeps(quirkVFSShared) {
		return conflict("File system is already attached to a server.")
	}
	switch {
	case !f.Active:
		return conflict("File system is not ready.")
	case t.isMetal:
		return unprocessable("File systems can not be attached to a bare metal server.")
	case !t.exists:
		return wire.NotFound("Invalid instance-id.")
	case t.server.Deleting:
		return conflict("Server is pending destruction")
	case t.server.Region != f.Region:
		return unprocessable("File system and server must be in the same region.")
	case t.server.PrivateMemory:
		return unprocessable("Server must be redeployed: its memory backing is not shared.")
	case t.server.locked():
		return conflict("Server is currently locked")
	}
	return nil
}

// freeTag picks a mount tag that is not taken; those that were seen have eight digits.
func freeTag(taken []int) int {
	for {
		tag := 10_000_000 + rand.IntN(90_000_000) //nolint:gosec // a name, no secret
		if _, used := slices.BinarySearch(taken, tag); !used {
			return tag
		}
	}
}
