// Package balancer is the data plane of simulated load balancers: forwarders for TCP, UDP, HTTP and HTTPS on an
// address of their own each, with health checks, firewall rules, sticky sessions and the PROXY protocol.
//
// A load balancer's settings are compiled into an immutable value that is swapped as a whole, so every connection
// sees one consistent set of rules, and a change leaves established connections of listeners that stay alone. Which
// backend takes a connection is decided by a pure function over a plain list (pool.pick).
package balancer
