package balancer

import "time"

// maxHeaderBytes bounds a request's header, and a response's.
const maxHeaderBytes = 64 << 10

// maxStreams bounds the requests that one HTTP/2 or HTTP/3 connection has open at once.
const maxStreams = 100

// limits bound what strangers can make a load balancer hold, and for how long.
type limits struct {
	// connections are the open ones of the whole load balancer, and as many HTTP requests may be under way at once.
	connections int
	// sessions are the clients of one port for datagrams.
	sessions int
	// header bounds how long a client may take to say what it wants, the TLS handshake included.
	header time.Duration
	// keepAlive is how long a connection waits for the next request; it is apart from the timeout of requests.
	keepAlive time.Duration
	// grace is how long a client gets to take the last words of an exchange in which nothing moved.
	grace time.Duration
}

// usual are the limits of a load balancer in use; tests have tighter ones.
func usual(connections int) limits {
	return limits{
		connections: connections, sessions: 4096, header: 15 * time.Second, keepAlive: time.Minute, grace: 5 * time.Second,
	}
}
