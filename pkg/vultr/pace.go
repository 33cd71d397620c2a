package vultr

import "time"

const (
	// paceWindow is how often the rate changes at most.
	paceWindow = time.Second
	minRate    = 0.5
	// quickRise is used well below the rate that was refused last, slowRise near it: probing the limit gently keeps
	// refusals rare where several clients share one address. The one is divided by the rate, the other by its third
	// power: of those clients, the one that has less catches up with the one that has more.
	quickRise, slowRise = 6, 120
	mostRise            = 1    // request/s in one window
	mostSlowRise        = 0.05 // of the rate: many clients, who have little each, would meet a refusal all the time
	nearRefused         = 0.8
	// falls is what a refusal leaves of the rate. It meets any of the clients that share the limit, not the one that has
	// most of it: to halve the rate would let those who are unlucky fall far behind.
	falls = 0.7
	// refusedFades is what each refusal leaves of the memory of a higher rate. Two refusals in a row, which are bad luck
	// more than a sign of the limit, then don't hold a client down for long.
	refusedFades = 0.85
)

// pace is the allowed rate in requests per second: it falls when the API refuses and rises slowly while there is
// demand. It only decides; limiter acts.
type pace struct {
	rate, ceiling float64
	// refused is the highest rate that was refused lately, 0 before the first refusal.
	refused float64
	// fell is when that was.
	fell time.Time
	// changed is when the rate changed last, or could have.
	changed time.Time
	// pressed is set when callers had to wait in this window: unused rate proves nothing.
	pressed bool
}

func newPace(start, ceiling float64, now time.Time) *pace {
	return &pace{rate: start, ceiling: ceiling, changed: now}
}

// rise returns the rate of now, raised if the last window was busy and not refused.
func (p *pace) rise(now time.Time) float64 {
	if now.Sub(p.changed) < paceWindow {
		return p.rate
	}
	p.changed = now
	if p.pressed {
		rise := quickRise / p.rate
		switch {
		case p.refused == 0:
			rise = mostRise // nothing says yet that anybody else uses the address
		case p.rate >= nearRefused*p.refused:
			rise = min(slowRise/(p.rate*p.rate*p.rate), mostSlowRise*p.rate)
		}
		p.rate = min(p.rate+min(rise, mostRise), p.ceiling)
	}
	p.pressed = false
	return p.rate
}

// fall lowers the rate for a refusal of a call that was sent at sent. Calls that were sent before the rate last fell
// say nothing about the rate since then, so many refusals of one moment count once.
func (p *pace) fall(sent, now time.Time) bool {
	if !p.fell.IsZero() && !sent.After(p.fell) {
		return false
	}
	p.refused, p.fell = max(p.rate, refusedFades*p.refused), now
	p.rate = max(falls*p.rate, minRate)
	p.changed = now
	p.pressed = false
	return true
}
