package simulator

import (
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// storageTables are the records of storage beside the volumes.
type storageTables struct {
	snapshots   *store.Table[blockSnapshot]
	fileSystems *store.Table[fileSystem]
}

func newStorageTables() storageTables {
	return storageTables{
		snapshots:   store.NewTable[blockSnapshot]("block_snapshots"),
		fileSystems: store.NewTable[fileSystem]("file_systems"),
	}
}

func (t storageTables) at(moment time.Time) storageTables {
	return storageTables{snapshots: t.snapshots.At(moment), fileSystems: t.fileSystems.At(moment)}
}

func (t storageTables) kinds() []store.Kind { return []store.Kind{t.snapshots, t.fileSystems} }

func (t storageTables) highestSeq() int64 { return max(highest(t.snapshots), highest(t.fileSystems)) }
