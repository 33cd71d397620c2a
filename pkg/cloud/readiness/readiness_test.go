package readiness_test

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/readiness"
)

// Whose kubelet reports to this API server, whatever it reports.
func TestIsHeard(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	is := func(status v1.ConditionStatus, age time.Duration) []v1.NodeCondition {
		return []v1.NodeCondition{
			{Type: v1.NodeDiskPressure, Status: v1.ConditionUnknown},
			{Type: v1.NodeReady, Status: status, LastHeartbeatTime: metav1.NewTime(now.Add(-age))},
		}
	}
	for name, tt := range map[string]struct {
		conditions []v1.NodeCondition
		want       bool
	}{
		"ready":                          {is(v1.ConditionTrue, time.Minute), true},
		"not ready, as it says itself":   {is(v1.ConditionFalse, time.Minute), true},
		"given up":                       {is(v1.ConditionUnknown, time.Minute), false},
		"ready, with nothing to say":     {is(v1.ConditionTrue, 8*time.Minute), true},
		"ready when the backup was made": {is(v1.ConditionTrue, time.Hour), false},
		"a clock ahead":                  {is(v1.ConditionTrue, -time.Hour), true},
		"no time":                        {[]v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}, true},
		"a new one":                      {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := readiness.IsHeard(&v1.Node{Status: v1.NodeStatus{Conditions: tt.conditions}}, now); got != tt.want {
				t.Errorf("%v", got)
			}
		})
	}
}
