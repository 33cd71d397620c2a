package filesystem

import (
	"encoding/binary"
	"io"
)

// What the superblock says of the state of the file system.
const (
	extState         = 0x3A
	extMaxMounts     = 0x36
	extCheckInterval = 0x44
	extValid         = 1 // unmounted in order, or what is left to do is in the journal
	extErrors        = 2
)

// extIsClean reports whether e2fsck will find by the superblock alone that there is nothing to do but to run the journal. An
// error of which only the journal knows does not show here: then the check is a whole one all the same.
func extIsClean(r io.ReaderAt) bool {
	sb, err := readExt(r)
	if err != nil {
		return false
	}
	state, most := binary.LittleEndian.Uint16(sb[extState:]), int16(binary.LittleEndian.Uint16(sb[extMaxMounts:])) //nolint:gosec // it is signed there
	return state&extValid != 0 && state&extErrors == 0 && most <= 0 && binary.LittleEndian.Uint32(sb[extCheckInterval:]) == 0
}
