package simulator

import "github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"

// storageTables are the records of storage beside the volumes.
type storageTables struct {
	snapshots *store.Table[blockSnapshot]
}

func newStorageTables() storageTables {
	return storageTables{snapshots: store.NewTable[blockSnapshot]("block_snapshots")}
}

func (t storageTables) kinds() []store.Kind { return []store.Kind{t.snapshots} }

func (t storageTables) highestSeq() int64 { return highest(t.snapshots) }
