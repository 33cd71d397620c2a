package plan_test

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// listens returns what a load balancer listens to: "http:80 https:443".
func listens(rules []vultr.ForwardingRule) string {
	var all []string
	for _, r := range rules {
		all = append(all, fmt.Sprintf("%s:%d", r.FrontendProtocol, r.FrontendPort))
	}
	return strings.Join(all, " ")
}

// secure gives a Service an https port 443 beside an http port 80, which is to be redirected.
func secure(s *v1.Service) {
	for key, value := range map[settings.Key]string{settings.Protocol: "http", settings.HTTPSPorts: "443", settings.SSL: "tls", settings.SSLRedirect: "true"} {
		with(key, value)(s)
	}
}

// Where there is no certificate there is neither https nor a redirect, and no http port opens that was to have one.
func TestWithoutHTTPS(t *testing.T) {
	faulty := with(settings.NodeCount, "2")
	plain, slip := with(settings.SSLRedirect, "false"), with(settings.SSLRedirect, "yes!")
	http, https := rule("http", 80, "http", 30080), rule("https", 443, "http", 30443)
	for name, tt := range map[string]struct {
		change     func(*v1.Service)
		current    vultr.LoadBalancer
		served     bool
		want       string
		redirected bool
	}{
		"nothing is served":                   {},
		"no redirect is asked for":            {change: plain, want: "http:80"},
		"served in plain text":                {current: vultr.LoadBalancer{Rules: []vultr.ForwardingRule{http}}, want: "http:80"},
		"another one's is served":             {current: vultr.LoadBalancer{Rules: []vultr.ForwardingRule{rule("http", 80, "http", 31080)}}},
		"redirected":                          {current: vultr.LoadBalancer{SSLRedirect: true, Rules: []vultr.ForwardingRule{http, https}}},
		"redirected, and not asked for":       {change: plain, current: vultr.LoadBalancer{SSLRedirect: true, Rules: []vultr.ForwardingRule{http, https}}, want: "http:80"},
		"redirected, and asked for by a slip": {change: slip, current: vultr.LoadBalancer{SSLRedirect: true, Rules: []vultr.ForwardingRule{http, https}}},
		"redirected, and with a fault":        {change: faulty, current: vultr.LoadBalancer{SSLRedirect: true, Rules: []vultr.ForwardingRule{http, https}}},
		"served by somebody's certificate":    {current: vultr.LoadBalancer{SSLRedirect: true, Rules: []vultr.ForwardingRule{http, https}}, served: true, want: "http:80 https:443", redirected: true},
		"nothing is served by it":             {served: true},
	} {
		t.Run(name, func(t *testing.T) {
			changes := []func(*v1.Service){secure}
			if tt.change != nil {
				changes = append(changes, tt.change)
			}
			member := sharer("a", 30000, []int32{80, 443}, changes...)
			got := plan.WithoutHTTPS(member.Reading.Desired, []plan.Member{member}, tt.current, tt.served)
			if listens(got.Rules) != tt.want || got.SSLRedirect != tt.redirected {
				t.Errorf("it listens to %q, and redirects: %t", listens(got.Rules), got.SSLRedirect)
			}
			if listens(member.Reading.Desired.Rules) != "http:80 https:443" {
				t.Errorf("what is asked for was changed: %q", listens(member.Reading.Desired.Rules))
			}
		})
	}
}

// A member that asks for a redirect gets no http port on a load balancer that does not redirect, but for one that it has so already.
func TestMergeRedirect(t *testing.T) {
	faulty := with(settings.NodeCount, "2")
	const told = "80/TCP (ssl-redirect is asked for"
	b := func(change ...func(*v1.Service)) plan.Member {
		return sharer("b", 31000, []int32{80, 443}, append([]func(*v1.Service){secure}, change...)...)
	}
	for name, tt := range map[string]struct {
		members    []plan.Member
		current    vultr.LoadBalancer
		want       string
		redirected bool
		refused    string // of the last one
	}{
		"it redirects": {members: []plan.Member{sharer("a", 30000, []int32{8080}), b()}, want: "http:80 https:443 tcp:8080", redirected: true},
		"its https port is taken": {
			members: []plan.Member{sharer("a", 30000, []int32{443}), b()}, want: "tcp:443", refused: told,
		},
		"its https port is taken, and it was served before": {
			members: []plan.Member{sharer("a", 30000, []int32{443}), b()},
			current: vultr.LoadBalancer{Rules: []vultr.ForwardingRule{rule("http", 80, "http", 31080)}}, want: "http:80 tcp:443", refused: "443/TCP",
		},
		"the certificate is another one's, who does not redirect": {
			members: []plan.Member{sharer("a", 30000, []int32{8443}, with(settings.HTTPSPorts, "8443"), with(settings.SSL, "tls")), b()},
			want:    "https:443 https:8443", refused: told,
		},
		"who redirected has left": {
			members: []plan.Member{sharer("a", 30000, []int32{8080}, with(settings.Protocol, "http"), faulty)},
			current: vultr.LoadBalancer{ID: "1", SSLRedirect: true, HTTP2: true, Rules: []vultr.ForwardingRule{
				rule("http", 8080, "http", 38080), rule("https", 443, "http", 31443),
			}},
			want: "http:8080",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := plan.Merge(tt.members, tt.current)
			d := got.Desired
			if listens(d.Rules) != tt.want || d.SSLRedirect != tt.redirected || d.KeepSSLRedirect || d.HTTP2 {
				t.Errorf("it listens to %q, and redirects: %t (%t), HTTP/2 %t", listens(d.Rules), d.SSLRedirect, d.KeepSSLRedirect, d.HTTP2)
			}
			if text := strings.Join(got.Refused[len(tt.members)-1], ", "); (text == "") != (tt.refused == "") || !strings.Contains(text, tt.refused) {
				t.Errorf("the last one is refused %q", text)
			}
		})
	}
}
