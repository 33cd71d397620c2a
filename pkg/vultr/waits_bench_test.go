package vultr_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// BenchmarkFiveHundredWaits has 500 goroutines create a volume each, at the platform's own pace and without a rate limit,
// and wait until it is active.
//
//   - calls/op: API calls of the waits, without the 500 creates. The least is one list; a get for each wait, at every
//     look, is what it takes without shared reads.
//   - late-s/op: from the moment when the last volume was active to the end of the last wait.
//   - mean-late-s/op: the same on average over the volumes.
//   - over-min/op: the time of all waits over that of one who knows.
func BenchmarkFiveHundredWaits(b *testing.B) {
	const waiters = 500
	var calls, late, mean, over float64
	for b.Loop() {
		cloud := simtest.Start(b, simtest.Options{Config: simulator.Config{TimeScale: 1}})
		c, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key, StartRate: 1e6, MaxRate: 1e6})
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		watched := watch(b, cloud, waiters)
		ended := waitForAll(b, c, waiters)
		active := <-watched
		last := time.Time{}
		for id, at := range active {
			mean += ended[id].Sub(at).Seconds() / waiters
			if at.After(last) {
				last = at
			}
		}
		end := slices.MaxFunc(values(ended), time.Time.Compare)
		late += end.Sub(last).Seconds()
		over += end.Sub(began).Seconds() / last.Sub(began).Seconds()
		for operation, n := range cloud.Sim.Counters() {
			if strings.HasPrefix(operation, "list_") || strings.HasPrefix(operation, "get_") {
				calls += float64(n.Total)
			}
		}
	}
	n := float64(b.N)
	b.ReportMetric(calls/n, "calls/op")
	b.ReportMetric(late/n, "late-s/op")
	b.ReportMetric(mean/n, "mean-late-s/op")
	b.ReportMetric(over/n, "over-min/op")
}

// watch tells when each volume became active, by the cloud's own view.
func watch(b *testing.B, cloud *simtest.Cloud, volumes int) <-chan map[string]time.Time {
	b.Helper()
	out := make(chan map[string]time.Time, 1)
	go func() {
		active := map[string]time.Time{}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for len(active) < volumes && b.Context().Err() == nil {
			<-tick.C
			for _, v := range cloud.Sim.View().Blocks {
				if _, known := active[v.ID]; v.Active && !known {
					active[v.ID] = time.Now()
				}
			}
		}
		out <- active
	}()
	return out
}

func waitForAll(b *testing.B, c *vultr.Client, volumes int) map[string]time.Time {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	var mu sync.Mutex
	ended := map[string]time.Time{}
	var wg sync.WaitGroup
	for i := range volumes {
		wg.Go(func() {
			v, err := c.CreateVolume(ctx, vultr.VolumeRequest{Label: fmt.Sprintf("pvc-%d", i), Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
			if err == nil {
				v, err = c.WaitVolume(ctx, "create", v.ID, active)
			}
			if err != nil {
				b.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ended[v.ID] = time.Now()
		})
	}
	wg.Wait()
	return ended
}

func values(m map[string]time.Time) []time.Time {
	var all []time.Time
	for _, v := range m {
		all = append(all, v)
	}
	return all
}
