package vultr

import "time"

const (
	// paceWindow is how often the rate changes at most.
	paceWindow = time.Second
	minRate    = 0.5
	// quickRise is used well below the rate that was refused last, slowRise near it: probing the limit gently keeps
	// refusals rare where several clients share one address.
	quickRise, slowRise = 0.5, 0.1
	nearRefused         = 0.8
)

// pace is the allowed rate in requests per second: it halves when the API refuses and rises slowly while there is
// demand. It only decides; limiter acts.
type pace struct {
	rate, ceiling float64
	// refused is the rate at the last refusal, 0 before the first.
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

// rise gives the rate of now, raised if the last window was busy and not refused.
func (p *pace) rise(now time.Time) float64 {
	if now.Sub(p.changed) < paceWindow {
		return p.rate
	}
	p.changed = now
	if p.pressed {
		step := quickRise
		if p.refused > 0 && p.rate >= nearRefused*p.refused {
			step = slowRise
		}
		p.rate = min(p.rate+step, p.ceiling)
	}
	p.pressed = false
	return p.rate
}

// fall halves the rate for a refusal of a call that was sent at sent. Calls that were sent before the rate last fell
// say nothing about the rate since then, so many refusals of one moment count once.
func (p *pace) fall(sent, now time.Time) bool {
	if !p.fell.IsZero() && !sent.After(p.fell) {
		return false
	}
	p.refused, p.fell = p.rate, now
	p.rate = max(p.rate/2, minRate)
	p.changed = now
	p.pressed = false
	return true
}
