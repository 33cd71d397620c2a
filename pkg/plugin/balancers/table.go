package balancers

import (
	"fmt"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

// Table writes balancers for people: a row each, and below them what has to be said of one.
func Table(tab *report.Tab, all []Balancer) {
	if len(all) == 0 {
		tab.Note("No Service is of type LoadBalancer.")
		return
	}
	tab.Row("SERVICE", "STATE", "ADDRESS", "LOAD BALANCER", "LABEL", "RULES", "BACKENDS", "NODES", "$/MONTH")
	for _, b := range all {
		if b.Status == "" {
			tab.Row(b.Service, string(b.State), "", b.ID)
			continue
		}
		tab.Row(b.Service, string(b.State), strings.Join(b.Addresses, ","), b.ID, b.Label, fmt.Sprintf("%d of %d", len(b.Rules), plan.MaxRules),
			b.backends(), fmt.Sprint(b.Nodes), fmt.Sprintf("%.2f", b.MonthlyCost))
	}
	for _, b := range all {
		b.notes(tab)
	}
	tab.Note("")
	tab.Note("The health of backends is %s.", healthUntold)
}

// backends counts them: how many are Nodes that are ready.
func (b Balancer) backends() string {
	ready := 0
	for _, backend := range b.Backends {
		if backend.Ready {
			ready++
		}
	}
	return fmt.Sprintf("%d, %d ready", len(b.Backends), ready)
}

func (b Balancer) notes(tab *report.Tab) {
	if b.Service == "" {
		return
	}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	switch {
	case b.State == Missing && b.ID != "":
		add("its load balancer %s is not in the account: see the Service's Events", b.ID)
	case b.State == Missing:
		add("it has no load balancer (yet): see the Service's Events")
	}
	if b.Proof == "label" || b.Proof == "address" {
		add("the load balancer is found by its %s; the controller has not written down that it is the Service's", b.Proof)
	}
	if len(b.Differs) > 0 {
		add("differs from what the Service asks for: %s", strings.Join(b.Differs, ", "))
	}
	for _, d := range b.Differences {
		add("  %s", d)
	}
	for _, text := range b.Faults {
		add("fault: %s", text)
	}
	for _, text := range b.Warnings {
		add("warning: %s", text)
	}
	if len(b.LeftOut) > 0 {
		add("no backends: %s", strings.Join(b.LeftOut, ", "))
	}
	if len(lines) == 0 {
		return
	}
	tab.Note("")
	tab.Note("%s", b.Service)
	for _, line := range lines {
		tab.Note("  %s", line)
	}
}
