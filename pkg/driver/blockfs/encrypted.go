package blockfs

import (
	"errors"
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Encrypted is the signature of a disk that is encrypted with LUKS, by blkid's name.
const Encrypted = "crypto_LUKS"

// Header is what was read of the header of an encrypted disk.
type Header struct {
	luks.Header

	// Err says why it could not be read.
	Err error
}

// DecideDisk judges whether the disk of a volume that is to be encrypted gets a header; else it has one, which is to be
// opened. The rules are Decide's. A header that says that it is fresh and has no passphrase is the beginning of our own:
// whatever it encrypts, nobody can ever read it. One that is damaged is the beginning of our own by the record only.
func DecideDisk(r Request, disk device.Device, f Findings, header Header, intent *state.Intent, bootID string) (format bool, err error) {
	ours := matches(intent, r, disk, bootID)
	unfinished := f.Signature == Encrypted && header.unfinished(r.VolumeID, ours)
	switch {
	case f.Signature == Encrypted && !unfinished:
		return false, header.opens(disk)
	case f.Signature != "" && !unfinished:
		return false, refuse(disk, fmt.Sprintf("it holds %s and is not encrypted, but the volume is to be encrypted (%s: %s), so it is neither used nor formatted",
			f.Signature, volume.ContextEncryption, luks.Name))
	case r.HasSource:
		return false, refuse(disk, "the volume was made from a source, but there is no encryption on it that could be opened")
	case r.ReadOnly:
		return false, refuse(disk, "there is no encryption on it that could be opened, and it is to be used read-only")
	case f.Blank, unfinished, ours:
		return true, nil
	}
	return false, refuse(disk, unknownData(f, intent))
}

// unfinished reports whether a header is the beginning of our own, of the volume.
func (h Header) unfinished(volumeID string, recorded bool) bool {
	if h.Err != nil {
		return recorded && errors.Is(h.Err, luks.ErrDamaged)
	}
	return h.Fresh(volumeID) && h.Keyslots == 0
}

// opens returns an error for a header that could not be read.
func (h Header) opens(disk device.Device) error {
	if h.Err == nil {
		return nil
	}
	return volume.Errorf(volume.InUse, "device %s (serial %s) cannot be opened and is left as it is: %w. To inspect it: `cryptsetup luksDump %s`; "+
		"a copy of the header, if there is one, is put back by `cryptsetup luksHeaderRestore`", disk.Path, disk.Serial, h.Err, disk.Path)
}

// RefuseEncrypted says that a disk is encrypted of which nobody said so.
func RefuseEncrypted(d device.Device) error {
	return volume.Errorf(volume.InUse, "device %s (serial %s) is encrypted with LUKS, and the volume does not ask for that: "+
		"its StorageClass needs the parameter \"%[3]s: %[4]s\", a PersistentVolume that exists spec.csi.volumeAttributes with \"%[3]s: %[4]s\", and both the Secret with the passphrase",
		d.Path, d.Serial, volume.ContextEncryption, luks.Name)
}
