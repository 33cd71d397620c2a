package simulator_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// A large account.
const (
	manyBlocks    = 10000
	manyInstances = 2000
	manyBalancers = 200
)

// instant is a cloud in which nothing takes time.
const instant = 1e-9

// saved is the state of a cloud of that size, in a directory.
func saved(b *testing.B, blocks, instances, balancers int) string {
	b.Helper()
	dir := b.TempDir()
	sim, err := simulator.New(b.Context(), simulator.Config{StateDir: dir, TimeScale: instant})
	if err != nil {
		b.Fatal(err)
	}
	if err := sim.Fill(blocks, instances, balancers); err != nil {
		b.Fatal(err)
	}
	if err := sim.Close(); err != nil {
		b.Fatal(err)
	}
	return dir
}

func opened(b *testing.B, dir string) *simulator.Simulator {
	b.Helper()
	sim, err := simulator.New(context.WithoutCancel(b.Context()), simulator.Config{StateDir: dir, TimeScale: instant})
	if err != nil {
		b.Fatal(err)
	}
	return sim
}

// BenchmarkStartUp is the start from a large account's saved state, with what it then has in memory.
func BenchmarkStartUp(b *testing.B) {
	dir := saved(b, manyBlocks, manyInstances, manyBalancers)
	var memory runtime.MemStats
	defer func() { b.ReportMetric(float64(memory.HeapAlloc)/(1<<20), "MB-in-use") }()
	for b.Loop() {
		sim := opened(b, dir)
		b.StopTimer()
		runtime.GC() //nolint:revive // what is garbage is not in use
		runtime.ReadMemStats(&memory)
		if n := len(sim.View().Blocks); n != manyBlocks {
			b.Fatalf("%d volumes", n)
		}
		if err := sim.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkRequests asks a large account over HTTP, one request after another, and tells the 99th
// percentile.
func BenchmarkRequests(b *testing.B) {
	dir := saved(b, manyBlocks, manyInstances, manyBalancers)
	sim := opened(b, dir)
	defer func() { _ = sim.Close() }()
	server := httptest.NewServer(sim)
	defer server.Close()
	view := sim.View()
	block := func(n int) string { return view.Blocks[n%manyBlocks].ID }
	instance := func(n int) string { return view.Instances[n%manyInstances].ID }
	var cursor string
	for name, request := range map[string]func(n int) (method, path, body string){
		"get-block":       func(n int) (string, string, string) { return "GET", "/v2/blocks/" + block(n), "" },
		"get-instance":    func(n int) (string, string, string) { return "GET", "/v2/instances/" + instance(n), "" },
		"list-blocks":     func(int) (string, string, string) { return "GET", "/v2/blocks?per_page=500", "" },
		"list-blocks-end": func(int) (string, string, string) { return "GET", "/v2/blocks?per_page=500&cursor=" + cursor, "" },
		"find-instance": func(n int) (string, string, string) {
			return "GET", fmt.Sprintf("/v2/instances?label=worker-%d", n%manyInstances), ""
		},
		"list-balancers": func(int) (string, string, string) { return "GET", "/v2/load-balancers?per_page=500", "" },
		"create-block":   func(int) (string, string, string) { return "POST", "/v2/blocks", `{"region":"ewr","size_gb":10}` },
		"relabel-block": func(n int) (string, string, string) {
			return "PATCH", "/v2/blocks/" + block(n), fmt.Sprintf(`{"label":"l%d"}`, n+manyBlocks)
		},
		"create-instance": func(int) (string, string, string) {
			return "POST", "/v2/instances", `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136}`
		},
	} {
		b.Run(name, func(b *testing.B) {
			if name == "list-blocks-end" {
				cursor = lastCursor(b, server.URL)
			}
			var times []time.Duration
			n := 0
			for b.Loop() {
				method, path, body := request(n)
				began := time.Now()
				send(b, method, server.URL+path, body)
				times = append(times, time.Since(began))
				n++
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkDurableWrite is one acknowledged change in accounts of several sizes, without HTTP's part.
func BenchmarkDurableWrite(b *testing.B) {
	for _, size := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("volumes=%d", size), func(b *testing.B) {
			sim := opened(b, saved(b, size, 10, 1))
			defer func() { _ = sim.Close() }()
			blocks := sim.View().Blocks
			n := 0
			for b.Loop() {
				request := httptest.NewRequestWithContext(b.Context(), "PATCH", "/v2/blocks/"+blocks[n%size].ID, strings.NewReader(fmt.Sprintf(`{"label":"l%d"}`, n+size)))
				request.Header.Set("Authorization", "Bearer k")
				answer := httptest.NewRecorder()
				sim.ServeHTTP(answer, request)
				if answer.Code != http.StatusNoContent {
					b.Fatalf("%d %s", answer.Code, answer.Body)
				}
				n++
			}
		})
	}
}

func send(b *testing.B, method, url, body string) []byte {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), method, url, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer k")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		b.Fatalf("%s %s: %s %s, %v", method, url, response.Status, text, err)
	}
	_ = response.Body.Close()
	return text
}

// lastCursor follows the pages of the volumes to the last one.
func lastCursor(b *testing.B, url string) (cursor string) {
	b.Helper()
	for {
		text := string(send(b, "GET", url+"/v2/blocks?per_page=500&cursor="+cursor, ""))
		_, rest, _ := strings.Cut(text, `"next":"`)
		next, _, _ := strings.Cut(rest, `"`)
		if next == "" {
			return cursor
		}
		cursor = next
	}
}
