// Package step names the steps that the node takes on the machine, and gives tests a place to cut in between
// them. In an ordinary build At does nothing; with the build tag faultpoints it can stop the process at a step.
package step

// Name is the name of a step. The process can be stopped right before it is taken.
type Name string

// The steps of staging, publishing and taking down a volume, in the order in which they come.
const (
	Probe       Name = "probe"        // look at what is on the device
	IntentWrite Name = "intent-write" // record that the device will be formatted
	MkfsFirst   Name = "mkfs"         // make the file system
	MkfsHalf    Name = "mkfs-half"    // half of the file system is on the device (only with faultpoints)
	MkfsDone    Name = "mkfs-done"    // the file system is complete, nothing else has happened
	Check       Name = "fsck"         // check the file system
	Mount       Name = "mount"        // mount it at the staging path
	IntentClear Name = "intent-clear" // forget the record, the mount succeeded
	Grow        Name = "grow"         // grow the file system to its device
	Bind        Name = "bind"         // bind it to the pod's path
	Unbind      Name = "unbind"       // take it from the pod's path
	Unmount     Name = "unmount"      // unmount it from the staging path
	Flush       Name = "flush"        // flush the device
)

// The steps that an encrypted volume has besides.
const (
	Encrypt   Name = "encrypt"    // make the header of an encrypted disk
	Encrypted Name = "encrypted"  // the header is complete, nothing else has happened
	Open      Name = "open"       // open the encrypted disk
	KeyAdd    Name = "key-add"    // give a key slot to the new passphrase
	KeyProve  Name = "key-prove"  // prove that the new passphrase opens the disk
	KeyRemove Name = "key-remove" // take its key slot from the old passphrase
	MarkUsed  Name = "mark-used"  // note in the header that there is something inside
	Close     Name = "close"      // close the encrypted disk
)

// All lists the steps of any volume.
var All = []Name{Probe, IntentWrite, MkfsFirst, MkfsHalf, MkfsDone, Check, Mount, IntentClear, Grow, Bind, Unbind, Unmount, Flush}
