package params

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// The keys of a StorageClass that the rest of the driver and its documentation name.
const (
	StorageType = "storage_type"
	DiskType    = "disk_type"
	BlockType   = "block_type" // the former spelling of DiskType, with the API's values
	FSType      = "csi.storage.k8s.io/fstype"
	Encryption  = volume.ContextEncryption
)

// bareFSType is FSType as it was spelled before keys had prefixes. The provisioner takes it in any case, for itself
// and for the driver; a class is immutable, so it has to be understood for ever.
const bareFSType = "fstype"

// FileSystems are the file systems that the node can make and mount, the default first.
var FileSystems = []string{"ext4", "xfs", "btrfs"}

// Value is one value of a parameter.
type Value struct {
	Text string
	// Means is the value by the parameter's current spelling; "" is Text itself.
	Means string
	// NotYet says in words what a value stands for that exists and that this version does not support; "" is supported.
	NotYet string
}

// Range is the whole numbers from Min to Max; the zero value is none.
type Range struct{ Min, Max int64 }

// Parameter is one key that a StorageClass may have.
type Parameter struct {
	Key string
	// Values are what it can be, unless it is a number in the Range.
	Values  []Value
	Range   Range
	Default string // "" is none
	Since   string // the version that understands it first
	Doc     string
	// Replaced is the current spelling of a deprecated one, "" for one that is current.
	Replaced string
	// AnyCase is set for a key that is understood in any case.
	AnyCase bool
	// For lists the file systems that it is for, nil when it is about something else.
	For []string
	// ForNode is set for what the node has to know, which has it from the volume context, under the same key.
	ForNode bool
	// FoldValues is set where the official driver takes values in any case.
	FoldValues bool
}

// Table is every parameter: the parser works from it, and the reference in docs/block-volumes.md is a copy of it.
var Table = append([]Parameter{
	{
		Key: StorageType, FoldValues: true, Default: string(volume.Block), Since: "v0.1.0", Doc: "the kind of storage",
		Values: []Value{{Text: string(volume.Block)}, {Text: string(volume.VFS)}},
	},
	{
		Key: DiskType, FoldValues: true, Default: string(volume.NVMe), Since: "v0.1.0", Doc: "the disks that it is on",
		Values: []Value{{Text: string(volume.NVMe)}, {Text: string(volume.HDD)}},
	},
	{
		Key: BlockType, FoldValues: true, Replaced: DiskType, Since: "v0.1.0", Doc: "the same by the API's names",
		Values: []Value{{Text: "high_perf", Means: string(volume.NVMe)}, {Text: "storage_opt", Means: string(volume.HDD)}},
	},
	{
		Key: FSType, Default: FileSystems[0], Since: "v0.1.0", Doc: "the file system that a blank volume gets",
		Values: plain(FileSystems),
	},
	{
		Key: bareFSType, AnyCase: true, Replaced: FSType, Since: "v0.1.0", Doc: "the same without its prefix, in any case (`fsType`)",
		Values: plain(FileSystems),
	},
	{
		Key: Encryption, ForNode: true, Since: "v0.1.0", Doc: "how the disk is encrypted; without it, it is not: see [encryption](encryption.md)",
		Values: []Value{{Text: luks.Name}},
	},
	readAhead,
}, formatTable...)

// plain are values that mean themselves.
func plain(texts []string) []Value {
	values := make([]Value, len(texts))
	for i, text := range texts {
		values[i] = Value{Text: text}
	}
	return values
}

// find returns the parameter that has the key.
func find(key string) (Parameter, bool) {
	for _, p := range Table {
		if p.Key == key || (p.AnyCase && strings.EqualFold(p.Key, key)) {
			return p, true
		}
	}
	return Parameter{}, false
}

// value returns what the text stands for.
func (p Parameter) value(text string) (Value, bool) {
	if p.Range != (Range{}) {
		n, err := strconv.ParseInt(text, 10, 64)
		return Value{Text: text}, err == nil && p.Range.Min <= n && n <= p.Range.Max && strconv.FormatInt(n, 10) == text
	}
	for _, v := range p.Values {
		if v.Text == text || (p.FoldValues && strings.EqualFold(v.Text, text)) {
			return v, true
		}
	}
	return Value{}, false
}

// meaning is the value by the current spelling.
func (v Value) meaning() string {
	if v.Means != "" {
		return v.Means
	}
	return v.Text
}

// valid lists the supported values in words.
func (p Parameter) valid() string {
	if p.Range != (Range{}) {
		return fmt.Sprintf("whole numbers from %d to %d", p.Range.Min, p.Range.Max)
	}
	var texts []string
	for _, v := range p.Values {
		if v.NotYet == "" {
			texts = append(texts, v.Text)
		}
	}
	return strings.Join(texts, ", ")
}

// current lists the keys that a new class should use.
func current() []string {
	var keys []string
	for _, p := range Table {
		if p.Replaced == "" {
			keys = append(keys, p.Key)
		}
	}
	return keys
}
