package vultr

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

const (
	// hasteRate is how many requests a second the client allows itself in haste. With burst it is what the platform allows one
	// address within a second, so it is not refused where nobody else asks for anything.
	hasteRate = 25
	// mostSaved is how many requests in a row may be in haste: a change of each of a hundred load balancers, and what is read
	// and repeated meanwhile.
	mostSaved = 120
	// savedPerSecond is how fast they are saved up: one who is in haste all the time uses hardly more than without it.
	savedPerSecond = 1
	// hasteLingers is for how long a refusal may still be the doing of requests that were sent in haste.
	hasteLingers = time.Second
	// heldBack is for how long there is no haste after an answer that says that hardly anything is left for the address, and
	// leftShare is what that means.
	heldBack  = time.Second
	leftShare = 0.1
)

type urgentKey struct{}

// Urgent returns a context whose writes are urgent: they go before all other calls, and for some seconds faster than
// others may, if the API has refused nothing for minutes. It is for what loses traffic until it is done. What comes of it is
// shared by the whole process, so whoever calls everything urgent gains nothing.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// haste is what urgent writes may use beyond the rate that the client allows itself. It is saved up slowly and spent quickly.
// Whatever the API refuses takes it all away: then others use the address, who are to have their part. So clusters that share an
// address, and whose nodes fail together, meet one refusal each, and go on as if there were no haste. It only decides; limiter
// acts.
type haste struct {
	saved   float64
	counted time.Time // when saved was reckoned last
	last    time.Time // when a call was let through in haste last
	held    time.Time // there is none before
}

func newHaste(now time.Time) haste { return haste{counted: now} }

// may reports whether the next call may go in haste.
func (h *haste) may(now time.Time) bool {
	h.saved = min(h.saved+savedPerSecond*now.Sub(h.counted).Seconds(), mostSaved)
	h.counted = now
	return h.saved >= 1 && !now.Before(h.held)
}

// spend notes that a call goes in haste.
func (h *haste) spend(now time.Time) { h.saved, h.last = h.saved-1, now }

// blamed reports whether a refusal of a call that goes now says nothing about the usual rate, but that there was too much haste.
func (h *haste) blamed(now time.Time) bool { return !h.last.IsZero() && now.Sub(h.last) < hasteLingers }

// lose takes away what is saved up.
func (h *haste) lose(now time.Time) { h.saved, h.counted = 0, now }

// heard learns from an answer how much is left for the address.
func (h *haste) heard(header http.Header, now time.Time) {
	if left, limit, known := leftOf(header); known && float64(left) <= leftShare*float64(limit) {
		h.held = now.Add(heldBack)
	}
}

// leftOf reads how many requests the address may still make. The platform sends these headers, but documents them nowhere.
func leftOf(header http.Header) (left, limit int, known bool) {
	limit, noLimit := strconv.Atoi(header.Get("X-RateLimit-Limit"))
	left, noLeft := strconv.Atoi(header.Get("X-RateLimit-Remaining"))
	return left, limit, noLimit == nil && noLeft == nil && limit > 0
}
