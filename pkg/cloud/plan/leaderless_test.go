package plan_test

import (
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// While the oldest one has faults what is checked stays as it is, unless it was a port of one that has left. kube-proxy's is nobody's, wherever
// it answers.
func TestMergeKeepsTheHealthCheck(t *testing.T) {
	const elsewhere = 10356
	for name, tt := range map[string]struct {
		port, kubeProxy int
		want            vultr.HealthCheck
	}{
		"kube-proxy":               {10256, 0, vultr.HealthCheck{Protocol: "http", Port: 10256, Path: "/healthz"}},
		"kube-proxy, elsewhere":    {elsewhere, elsewhere, vultr.HealthCheck{Protocol: "http", Port: elsewhere, Path: "/healthz"}},
		"a port of a member":       {31443, 0, vultr.HealthCheck{Protocol: "http", Port: 31443, Path: "/healthz"}},
		"a port of who has left":   {32080, 0, vultr.HealthCheck{Protocol: "tcp", Port: 30080}},
		"kube-proxy's of another":  {elsewhere, 0, vultr.HealthCheck{Protocol: "tcp", Port: 30080}},
		"nothing was ever checked": {0, 0, vultr.HealthCheck{Protocol: "tcp", Port: 30080}},
	} {
		t.Run(name, func(t *testing.T) {
			members := []plan.Member{sharer("a", 30000, []int32{80}, with(settings.NodeCount, "2")), sharer("b", 31000, []int32{443})}
			for i := range members {
				members[i].Reading = plan.Read(members[i].Service, plan.WithKubeProxyPort(tt.kubeProxy))
			}
			got := plan.Merge(members, vultr.LoadBalancer{
				ID: "1", HealthCheck: vultr.HealthCheck{Protocol: "http", Port: tt.port, Path: "/healthz"},
				Rules: []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 31443)},
			})
			if got.Leader != nil || got.Desired.HealthCheck != tt.want {
				t.Errorf("leader %v, %+v", got.Leader, got.Desired.HealthCheck)
			}
		})
	}
}
