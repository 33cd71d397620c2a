package params

import (
	"strconv"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// ReadAhead is the key of how much the kernel reads ahead, of a class and of a volume context.
const ReadAhead = "read_ahead_kb"

// readAhead is for the file systems that read ahead as their disk says: a btrfs has a figure of its own.
var readAhead = Parameter{
	Key: ReadAhead, Range: Range{0, 64 << 10}, For: []string{"ext4", "xfs"}, ForNode: true, Since: "v0.1.0",
	Doc: "KiB that the kernel reads ahead of who reads in order, also from a raw device (its own choice, mostly 128, if unset)",
}

// ReadAheadOf reads from a volume context how many KiB the kernel is to read ahead, and whether anything is said of that.
// fsType is "" for a raw device. The error is Invalid.
func ReadAheadOf(fsType string, volumeContext map[string]string) (kib int64, wished bool, err error) {
	w, fault := judge(readAhead, ReadAhead, volumeContext[ReadAhead])
	if fault == "" && w.meaning == "" {
		return 0, false, nil
	}
	if fault == "" && fsType != "" {
		fault = readAhead.misplaced(fsType)
	}
	if fault != "" {
		return 0, false, volume.Errorf(volume.Invalid, "volume context: %s", fault)
	}
	kib, err = strconv.ParseInt(w.meaning, 10, 64)
	return kib, err == nil, err
}
