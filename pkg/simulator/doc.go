// Package simulator is a Vultr cloud in one process: the API v2 with its asynchronous effects, its errors and its
// traps, over data planes that are real or absent.
//
// A Simulator is an http.Handler for the API. Its state is kept in a directory (durable before an answer is given) or
// in memory; what happens later (a volume becomes active, an instance boots) is a deadline in that state, so that a
// process that was killed goes on where it stopped. The data planes (Disks, Balancers, Machine) are interfaces that
// this package declares and others implement; without them the simulator is a control plane alone.
package simulator
