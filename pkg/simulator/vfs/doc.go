// Package vfs is the data plane of simulated file systems (VFS): directories that several instances see.
//
// Everything lives under one root directory, beside the disks:
//
//	filesystems/<id>/                    the content
//	instances/<instance>/vfs/<mount tag> a bind mount of the content, for as long as the instance has it
//
// On a real machine the guest mounts a device that has a tag: mount -t virtiofs <tag> <directory>. Here it binds a
// directory of that name: mount --bind <vfs>/<tag> <directory>. The directory vfs is a shared mount of its own: a worker
// that binds it recursively into a mount namespace that is a slave of this one sees file systems come and go.
//
// The kernel is the only record of what is published. Each publication is a peer group of mounts, so whatever a guest
// bound from it is known by its group, in whatever namespace, and told apart from what another instance bound.
//
// The size of a file system is not enforced: a guest can write more than it bought, and sees the size of the file system
// that the root directory is on.
package vfs
