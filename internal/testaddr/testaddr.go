// Package testaddr gives tests the addresses on which the programs that they start are to listen.
//
// A port that the kernel picked and that was closed again belongs to nobody: before the program listens on it, another
// process may get it for an outgoing connection, and packages are tested side by side. So each test process has a
// loopback address of its own, from which nobody connects and on which nobody else listens.
package testaddr

import (
	"encoding/binary"
	"net/netip"
	"os"
	"sync/atomic"
)

// firstPort is above the ports that need a capability.
const firstPort = 10000

var given atomic.Uint32

// Next returns a loopback address and port that no other call returns, here or in another process that runs. The address
// is the process ID, which has up to 22 bits, after 127.128.0.0; the simulator's load balancers are in 127.64.0.0.
func Next() netip.AddrPort {
	address := [4]byte{}
	binary.BigEndian.PutUint32(address[:], 127<<24|128<<16|uint32(os.Getpid()))         //nolint:gosec // Linux gives no process ID beyond 22 bits
	return netip.AddrPortFrom(netip.AddrFrom4(address), uint16(firstPort+given.Add(1))) //nolint:gosec // no test asks for 50,000 ports
}
