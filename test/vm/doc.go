// Package vm proves the node plugin right on real virtio disks and virtiofs, in a virtual machine with a kernel of its own.
//
// Loop devices cannot be unplugged under a file system, have no serial, and this machine's kernel may refuse what a
// node's allows, or lack it: encryption, virtiofs. A guest has all of that: its disks and shared file systems are plugged in,
// unplugged and resized as the platform does it.
//
//   - guest makes the image: Debian's kernel, the modules it needs, the tools of the node image, the node plugin, and an
//     agent as its init.
//   - qemu runs it, and plugs disks and file systems; qmp is how it talks to QEMU.
//   - agent is how the tests talk to the guest.
//
// The tests of this package are the scenarios. They share one guest; some start another one beside it. One of those boots a whole
// Debian, where the node plugin runs from its image in the container that its manifest describes, beside systemd and udev. In
// another one the guests are instances of a simulated cloud, and the driver's controller orders what is plugged into them.
package vm
