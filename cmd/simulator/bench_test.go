package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A large account.
const (
	manyBlocks    = 10000
	manyInstances = 2000
	manyBalancers = 200
)

// client asks the program over connections that stay open.
type client struct {
	b    *testing.B
	http *http.Client
}

func newClient(b *testing.B) *client {
	b.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	b.Cleanup(transport.CloseIdleConnections)
	return &client{b, &http.Client{Transport: transport}}
}

func (c *client) ask(method, url, body string, into any) (took time.Duration) {
	request, err := http.NewRequestWithContext(c.b.Context(), method, url, strings.NewReader(body))
	if err != nil {
		c.b.Error(err)
		return 0
	}
	request.Header.Set("Authorization", "Bearer test")
	began := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		c.b.Error(err)
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	took = time.Since(began)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %s", method, url, response.Status, text)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		c.b.Error(err)
	}
	return took
}

// atOnce does the work n times, by several at once.
func atOnce(n int, work func(i int)) {
	var group sync.WaitGroup
	next := make(chan int)
	for range 8 {
		group.Go(func() {
			for i := range next {
				work(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}

// largeAccount makes one over the API and gives its state directory.
func largeAccount(b *testing.B) string {
	b.Helper()
	state := b.TempDir()
	p := launch(b, largeArgs(state)...)
	c := newClient(b)
	instances := make([]string, manyInstances)
	atOnce(manyInstances, func(i int) {
		var made struct{ ID string }
		c.ask(http.MethodPost, p.adm+"instances", fmt.Sprintf(`{"label":"worker-%d"}`, i), &made)
		instances[i] = made.ID
	})
	atOnce(manyBalancers, func(i int) {
		c.ask(http.MethodPost, p.api+"/load-balancers", fmt.Sprintf(
			`{"region":"ewr","label":"lb-%d","instances":["%s","%s"],"forwarding_rules":[{"frontend_protocol":"tcp","frontend_port":80,"backend_protocol":"tcp","backend_port":30080}]}`,
			i, instances[2*i], instances[2*i+1]), nil)
	})
	atOnce(manyBlocks, func(i int) {
		c.ask(http.MethodPost, p.api+"/blocks", fmt.Sprintf(`{"region":"ewr","size_gb":10,"block_type":"high_perf","label":"pvc-%d"}`, i), nil)
	})
	p.await("everything to be settled", func() bool { return len(p.view().Transitions) == 0 })
	if code := p.stop(syscall.SIGTERM); code != 0 {
		b.Fatalf("exit code %d:\n%s", code, p.out)
	}
	return state
}

func largeArgs(state string) []string {
	return []string{"--no-disks", "--balancers=off", "--time-scale=0.000001", "--state=" + state}
}

// BenchmarkLargeAccount starts the program itself with a large account's saved state, asks it 4,000 things and tells
// how long the start took (start-ms), the 99th percentile of reads and of durable writes (read-p99-ms, write-p99-ms) and the
// memory that the process then has, and had at most (MB-resident, MB-peak).
func BenchmarkLargeAccount(b *testing.B) {
	state := largeAccount(b)
	c := newClient(b)
	var starts, reads, writes []time.Duration
	var resident, peak float64
	for b.Loop() {
		began := time.Now()
		p := launch(b, largeArgs(state)...)
		starts = append(starts, time.Since(began))
		view := p.view()
		if len(view.Blocks) < manyBlocks || len(view.Instances) != manyInstances || len(view.LoadBalancers) != manyBalancers {
			b.Fatalf("%d volumes, %d instances, %d load balancers", len(view.Blocks), len(view.Instances), len(view.LoadBalancers))
		}
		for i := range 500 {
			block, instance := p.api+"/blocks/"+view.Blocks[i*17%manyBlocks].ID, p.api+"/instances/"+view.Instances[i*3%manyInstances].ID
			reads = append(reads,
				c.ask(http.MethodGet, block, "", nil), c.ask(http.MethodGet, instance, "", nil),
				c.ask(http.MethodGet, p.api+"/blocks?per_page=500", "", nil),
				c.ask(http.MethodGet, p.api+"/instances?per_page=500", "", nil),
				c.ask(http.MethodGet, p.api+"/load-balancers?per_page=500", "", nil),
				c.ask(http.MethodGet, fmt.Sprintf("%s/instances?label=worker-%d", p.api, i), "", nil))
			writes = append(writes,
				c.ask(http.MethodPatch, block, fmt.Sprintf(`{"label":"l-%d-%d"}`, len(starts), i), nil),
				c.ask(http.MethodPost, p.api+"/blocks", `{"region":"ewr","size_gb":10,"block_type":"high_perf"}`, nil))
		}
		resident, peak = max(resident, memoryOf(b, p, "VmRSS")), max(peak, memoryOf(b, p, "VmHWM"))
		if code := p.stop(syscall.SIGTERM); code != 0 {
			b.Fatalf("exit code %d:\n%s", code, p.out)
		}
	}
	milliseconds := func(times []time.Duration, percent int) float64 {
		slices.Sort(times)
		return float64(times[len(times)*percent/100].Microseconds()) / 1000
	}
	b.ReportMetric(milliseconds(starts, 50), "start-ms")
	b.ReportMetric(milliseconds(reads, 99), "read-p99-ms")
	b.ReportMetric(milliseconds(writes, 99), "write-p99-ms")
	b.ReportMetric(resident, "MB-resident")
	b.ReportMetric(peak, "MB-peak")
}

// memoryOf reads a field of the process' status, in megabytes.
func memoryOf(b *testing.B, p *process, field string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	found := regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		b.Fatalf("no %s in %s", field, text)
	}
	kilobytes, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return kilobytes / 1024
}
