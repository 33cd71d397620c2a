package plan

import (
	"fmt"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// traffic reads how connections are forwarded, whatever the port.
func (r *reader) traffic() {
	d := &r.out.Desired
	d.Algorithm = r.algorithm()
	d.Timeout = r.Int(settings.Timeout)
	d.Nodes = r.Int(settings.NodeCount)
	d.ProxyProtocol = r.Bool(settings.ProxyProtocol)
}

func (r *reader) algorithm() string {
	if algorithm := r.Text(settings.Algorithm); algorithm != "least_connections" {
		return algorithm
	}
	return "leastconn" // the platform's word
}

// session reads cookie stickiness, the only kind that the platform has.
func (r *reader) session() {
	if !r.Bool(settings.StickySessionEnabled) {
		return
	}
	cookie := r.Text(settings.StickySessionCookieName)
	applies := r.hasRule("http", "https")
	stated := r.Says(settings.StickySessionEnabled)
	switch {
	case !stated && (!applies || cookie == ""):
		// A default that does not fit.
	case cookie == "" && r.Says(settings.StickySessionCookieName):
		// It is malformed, which is a fault of its own.
	case cookie == "" && strings.TrimSpace(r.service.Annotations[string(settings.StickySessionEnabled)]) != "on":
		r.Warn("%s is on, but %s is missing: it is read as off, as by the official controller; write \"on\" and name a cookie",
			settings.StickySessionEnabled, settings.StickySessionCookieName)
	case cookie == "":
		r.Fail(fmt.Errorf("annotation %s is on, but %s is missing", settings.StickySessionEnabled, settings.StickySessionCookieName))
	default:
		r.out.Desired.StickyCookie = cookie
		if !applies {
			r.Warn("%s is on, but no port is http or https: a cookie needs one", settings.StickySessionEnabled)
		}
	}
}
