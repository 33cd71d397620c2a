// Package testcloud runs tests of the controller's parts on a simulated cloud, in fake time.
package testcloud

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Bubble runs a test on the platform's own delays. The cloud goes on for a time after the test, without faults, so that
// what the code looks at later by itself finds it there.
func Bubble(t *testing.T, cfg simulator.Config, after time.Duration, test func(t *testing.T, cloud *simtest.Cloud)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.Start(t, simtest.Options{Bubble: true, Config: cfg})
		t.Cleanup(func() {
			cloud.Sim.ClearFaults()
			time.Sleep(after) // of the fake clock
		})
		test(t, cloud)
	})
}

// Client is the API client of one more process.
func Client(t *testing.T, cloud *simtest.Cloud) *vultr.Client {
	t.Helper()
	api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key, StartRate: 500, MaxRate: 500, DialContext: cloud.Dial})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// Repeat calls as a sidecar does, each time with a deadline, until the call succeeds or the time is up.
func Repeat(t *testing.T, atMost time.Duration, call func(ctx context.Context) error) error {
	t.Helper()
	began := time.Now()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		err := call(ctx)
		cancel()
		if err == nil || time.Since(began) > atMost {
			return err
		}
		time.Sleep(time.Second) // of the fake clock
	}
}
