// Package clients holds the tests of the simulator with programs that know nothing of it: API clients on the real
// address of the Vultr API and a browser on the status page. It is a module of its own, for the product needs none of
// their code.
package clients
