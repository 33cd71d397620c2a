package reqlog

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func TestTheOldestAreForgotten(t *testing.T) {
	log := New()
	for i := range ringSize + 3 {
		log.Add(Entry{Operation: "op", Path: fmt.Sprint(i), Status: 200 + i%2*300})
	}
	all, last := log.Last(0), log.Last(2)
	if len(all) != ringSize || all[0].Path != "3" || len(last) != 2 || last[1].Seq != ringSize+3 {
		t.Errorf("%d entries from %+v, the last two are %+v", len(all), all[0], last)
	}
	if c := log.Counters()["op"]; c.Total != ringSize+3 || c.Failed != (ringSize+3)/2 || c.ByStatus[200] != (ringSize+4)/2 {
		t.Errorf("counted %+v", c)
	}
	log.Reset()
	if len(log.Last(0)) != 0 || len(log.Counters()) != 0 {
		t.Error("something is remembered")
	}
}

// TestLongTexts: what clients send is kept in part, and nothing else of theirs stays in memory for it.
func TestLongTexts(t *testing.T) {
	log := New()
	heap := func() uint64 {
		runtime.GC() //nolint:revive // what is garbage is not in use
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		return now.HeapAlloc
	}
	before := heap()
	for range 1000 {
		head := strings.Repeat("\u2603", 16<<10) + strings.Repeat("x", 16<<10) // 64 KB
		log.Add(Entry{Method: head[48<<10:], Path: head, Query: head[:100], Error: head, UserAgent: head[60<<10:]})
	}
	if used := heap() - before; used > 8<<20 {
		t.Errorf("%d MB for the last requests", used>>20)
	}
	e := log.Last(1)[0]
	if !strings.HasPrefix(e.Path, "\u2603") || !strings.HasSuffix(e.Path, "\u2603...") || len(e.Path) > maxText+3 || e.Query != strings.Repeat("\u2603", 33)+"\xe2" {
		t.Errorf("kept %+v", e)
	}
}
