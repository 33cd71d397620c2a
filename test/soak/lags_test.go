package soak

import (
	"maps"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// lagging are the kinds of reads whose lags change.
var lagging = []string{"blocks.get", "blocks.list", "block_snapshots.get", "block_snapshots.list", "vfs.get", "vfs.list", "all"}

// setLags changes how far reads lag.
func (w *world) setLags(s step) {
	most := int(w.setup.maxLag / time.Millisecond)
	some := func(n int) time.Duration { return time.Duration(n%(most+1)) * time.Millisecond }
	lags := usual()
	switch s.a % 4 {
	case 0:
		lags["blocks.get"], lags["blocks.list"], lags["vfs.list"] = some(s.b), some(s.b), some(s.c)
	case 1:
		lags["blocks.get"], lags["blocks.list"] = some(s.b), some(s.c)
	case 2:
		lags["block_snapshots.get"], lags["block_snapshots.list"], lags["vfs.get"] = some(s.b), some(s.b+s.c), some(s.c)
	case 3:
		for _, kind := range lagging {
			lags[kind] = some(s.b)
		}
	}
	w.lag(lags)
}

func usual() simulator.ReadLags {
	lags := simulator.ReadLags{}
	for _, kind := range lagging {
		lags[kind] = simulator.DefaultReadLag
	}
	return lags
}

// lag has reads lag so: what lags less does at once, what lags more bit by bit. Reads of one kind never go back in time; the
// driver takes what one of them has shown for a floor of the next.
func (w *world) lag(wanted simulator.ReadLags) {
	w.note("reads shall lag %v", wanted)
	w.lagsChanged++
	mine := w.lagsChanged
	const tick = 500 * time.Millisecond
	w.background.Go(func() {
		for reached := false; !reached; time.Sleep(tick) { // of the fake clock
			w.locked(func() {
				if mine != w.lagsChanged {
					reached = true
					return
				}
				now := w.cloud.Sim.ReadLags()
				for kind, lag := range wanted {
					now[kind] = min(lag, now[kind]+tick)
				}
				if err := w.cloud.Sim.SetReadLags(now); err != nil {
					w.t.Error(err)
				}
				reached = maps.Equal(now, wanted)
			})
		}
	})
}
