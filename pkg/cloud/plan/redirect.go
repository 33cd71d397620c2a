package plan

import (
	"fmt"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The platform redirects to https only where there is an https port with a certificate, and then from all http ports. Where it can't, an http
// port is served in plain text. So a member that asks for the redirect gets no http port without it, unless it has had that before.

// WithoutHTTPS returns what the members ask for together without the ports that need a certificate, where there is none for them. If served
// is set there is somebody else's: then the https ports stay that the load balancer has.
func WithoutHTTPS(want Desired, members []Member, current vultr.LoadBalancer, served bool) Desired {
	want.Rules = slices.DeleteFunc(slices.Clone(want.Rules), func(rule vultr.ForwardingRule) bool {
		return rule.FrontendProtocol == "https" && (!served || !has(current, rule))
	})
	if listensTo(want.Rules, "https") {
		return want
	}
	want.SSLRedirect, want.KeepSSLRedirect, want.HTTP2, want.HTTP3 = false, false, false, false
	want.Rules = slices.DeleteFunc(want.Rules, func(rule vultr.ForwardingRule) bool {
		return slices.ContainsFunc(members, func(member Member) bool { return member.exposedBy(rule, current) })
	})
	return want
}

// redirect takes the http ports from members that ask for a redirect where the load balancer does not redirect.
func (m *merger) redirect() {
	d := &m.out.Desired
	if !listensTo(d.Rules, "https") {
		d.SSLRedirect, d.KeepSSLRedirect, d.HTTP2, d.HTTP3 = false, false, false, false
	}
	if d.SSLRedirect || d.KeepSSLRedirect && m.current.SSLRedirect {
		return
	}
	for i, member := range m.members {
		m.owned[i] = slices.DeleteFunc(m.owned[i], func(rule vultr.ForwardingRule) bool {
			exposed := member.exposedBy(rule, m.current)
			if exposed {
				m.out.Refused[i] = append(m.out.Refused[i], fmt.Sprintf("%s (ssl-redirect is asked for, and the load balancer can't redirect)", listenerOf(rule)))
			}
			return exposed
		})
	}
	d.Rules = slices.Concat(m.owned...)
	SortRules(d.Rules)
}

// redirects reports whether the http ports of a member are to be redirected, also if it has faults.
func (m Member) redirects(current vultr.LoadBalancer) bool {
	d := m.Reading.Desired
	return d.SSLRedirect || d.KeepSSLRedirect && current.SSLRedirect
}

// exposedBy reports whether a rule would serve a member in plain text that asks for a redirect, and that is not served so already.
func (m Member) exposedBy(rule vultr.ForwardingRule, current vultr.LoadBalancer) bool {
	if rule.FrontendProtocol != "http" || !LeadsTo(rule, m.Service) || !m.redirects(current) {
		return false
	}
	return current.SSLRedirect || !has(current, rule)
}

// has reports whether a load balancer listens as a rule says, and leads to the same port of the nodes.
func has(lb vultr.LoadBalancer, rule vultr.ForwardingRule) bool {
	return slices.ContainsFunc(lb.Rules, func(is vultr.ForwardingRule) bool {
		return is.FrontendProtocol == rule.FrontendProtocol && is.FrontendPort == rule.FrontendPort && is.BackendPort == rule.BackendPort
	})
}

func listensTo(rules []vultr.ForwardingRule, frontend string) bool {
	return slices.ContainsFunc(rules, func(rule vultr.ForwardingRule) bool { return rule.FrontendProtocol == frontend })
}
