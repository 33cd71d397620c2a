// Package disks is the data plane of simulated block storage: sparse files behind loop devices.
//
// Everything lives under one root directory:
//
//	disks/<id>.img                               the backing file, sparse
//	disks/<id>.plug                              where the disk is plugged, written before and removed after all else
//	snapshots/<id>.img                           a snapshot of one, sparse; never changed
//	*.part                                       what is being copied, of either kind
//	instances/<instance>/devices/vdb             the guest's /dev: a node with the loop device's numbers
//	instances/<instance>/devices/disk/by-id/...  virtio-<serial>, a relative link to the node
//	instances/<instance>/block/vdb/...           the guest's /sys/class/block: serial, dev, size
//
// A loop device has no serial of its own, and /dev and /sys are one for the whole machine whatever the namespaces:
// so the entries above stand in for what a guest sees of its virtio disks. A worker binds the two directories at
// fixed paths; they keep their inodes for the instance's life.
//
// The kernel is the only record of what is attached: loop devices are found by asking each for the inode behind it,
// never by name. One backing file has at most one loop device, whatever was killed in the middle: all changes happen
// under a lock file, and each looks before it makes.
package disks
