package vultr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/vultr/govultr/v3"
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

// BenchmarkOneCall is one read of one volume through all layers, without a network: what it allocates is what the
// client adds to each call. The bare call makes the same request with net/http alone.
func BenchmarkOneCall(b *testing.B) {
	data, err := json.Marshal(map[string]any{"block": block(idA, "active", "")})
	if err != nil {
		b.Fatal(err)
	}
	answer := roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
			Body: io.NopCloser(bytes.NewReader(data)), ContentLength: int64(len(data)),
		}, nil
	})
	b.Run("client", func(b *testing.B) {
		c, err := newClient(Config{Key: testKey, StartRate: 1e9, MaxRate: 1e9}, answer)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if v, err := c.Volume(b.Context(), idA); err != nil || v.ID != idA {
				b.Fatal(v, err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		client := &http.Client{Transport: answer}
		b.ReportAllocs()
		for b.Loop() {
			if err := bareCall(b, client); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// bareCall is what a read takes at the least: a request, its answer, the object.
func bareCall(b *testing.B, client *http.Client) (err error) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, defaultBaseURL+blocksPath+"/"+idA, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	var object struct {
		Block govultr.BlockStorage `json:"block"`
	}
	return json.NewDecoder(resp.Body).Decode(&object)
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
