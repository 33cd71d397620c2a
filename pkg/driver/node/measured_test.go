package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
)

// TestMeasurements: they are of one volume and one path, and count for a while.
func TestMeasurements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m measurements
		m.forget("v")
		m.keep("V", "/a", staging.Stats{Bytes: staging.Amounts{Total: 7}})
		m.keep("w", "/a", staging.Stats{})
		time.Sleep(time.Minute) // on the fake clock
		if s, age, ok := m.recent("v", "/a", time.Minute); !ok || age != time.Minute || s.Bytes.Total != 7 {
			t.Errorf("got %v, %s, %t", s, age, ok)
		}
		if s, _, ok := m.recent("v", "/b", time.Minute); ok {
			t.Errorf("another path has %v", s)
		}
		if s, _, ok := m.recent("v", "/a", time.Minute-1); ok {
			t.Errorf("a measurement that is too old is %v", s)
		}
		m.forget("V")
		if _, _, ok := m.recent("v", "/a", time.Hour); ok {
			t.Error("what was forgotten is there")
		}
		if _, _, ok := m.recent("w", "/a", time.Hour); !ok {
			t.Error("another volume was forgotten as well")
		}
	})
}
