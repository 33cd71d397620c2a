package balancer

import (
	"container/list"
	"net"
	"net/netip"
)

// session is one client's way to its backend.
type session struct {
	client      netip.AddrPort
	one         *member
	backendPort int
	conn        *net.UDPConn
	input       readiness
	quiet       idleClock
}

// sessions are the clients of one port, at most limit of them: a flood of datagrams from ever new ports makes room for
// itself by ending the session whose client has been silent for longest, not by growing.
type sessions struct {
	limit    int
	byClient map[netip.AddrPort]*list.Element
	// recent begins with the client that sent last.
	recent *list.List
}

func newSessions(limit int) *sessions {
	return &sessions{limit: limit, byClient: map[netip.AddrPort]*list.Element{}, recent: list.New()}
}

// find returns the client's session and notes that it has sent something.
func (t *sessions) find(client netip.AddrPort) (*session, bool) {
	element, ok := t.byClient[client]
	if !ok {
		return nil, false
	}
	t.recent.MoveToFront(element)
	s, ok := element.Value.(*session)
	return s, ok
}

// add takes in a session of a client that has none, and returns the one that had to leave for it, or nil.
func (t *sessions) add(s *session) (displaced *session) {
	if last := t.recent.Back(); last != nil && len(t.byClient) >= t.limit {
		displaced, _ = last.Value.(*session)
		t.remove(displaced)
	}
	t.byClient[s.client] = t.recent.PushFront(s)
	return displaced
}

// remove forgets the session, unless its client has another one by now.
func (t *sessions) remove(s *session) {
	if element, ok := t.byClient[s.client]; ok && element.Value == any(s) {
		t.recent.Remove(element)
		delete(t.byClient, s.client)
	}
}

// all returns every session, that of the client that sent last first.
func (t *sessions) all() []*session {
	out := make([]*session, 0, len(t.byClient))
	for element := t.recent.Front(); element != nil; element = element.Next() {
		if s, ok := element.Value.(*session); ok {
			out = append(out, s)
		}
	}
	return out
}
