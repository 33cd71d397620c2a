package simulator

import "sync"

// news tells those who ask for it that something happened. Telling costs nothing while nobody waits.
type news struct {
	mu   sync.Mutex
	next chan struct{}
}

// wait returns a channel that is closed by the next tell.
func (n *news) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

// Changed returns a channel that is closed at the next change of the View, when such a change comes in sight of reads
// that lag, or when the next request ends.
func (s *Simulator) Changed() <-chan struct{} { return s.news.wait() }
