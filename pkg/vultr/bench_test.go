package vultr

import (
	"context"
	"net/http"
	"sync"
	"testing"
)

// BenchmarkListOf500 reads one full page through all layers, without a network.
func BenchmarkListOf500(b *testing.B) {
	var list []map[string]any
	for _, id := range ids(0, pageSize) {
		list = append(list, block(id, "active", ""))
	}
	body := blocks(list...)
	net := &cloud{answer: func(*http.Request) (*http.Response, error) { return reply(200, body), nil }}
	c, err := newClient(Config{Key: testKey, StartRate: 1e9, MaxRate: 1e9}, net)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if volumes, err := volumes.all(b.Context(), c, nil); err != nil || len(volumes) != pageSize {
			b.Fatal(len(volumes), err)
		}
	}
}

// BenchmarkHundredReadersOfOneList has a hundred readers ask at one moment.
func BenchmarkHundredReadersOfOneList(b *testing.B) {
	s := newShared(func(context.Context) ([]int, error) { return nil, nil }, 0, func(string) {})
	for b.Loop() {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := s.fresh(b.Context()); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
}
