// Package doctor checks a cluster and its account: the keys and their rights, the nodes, the controllers and what is left of
// others. It decides over plain values that Gather has read.
package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/api"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/balancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Key is an API key, or why it could not be tried.
type Key struct {
	// Source is where it is from: "Secret kube-system/vultr-ccm".
	Source string
	// Ref is its Secret; the zero value is none.
	Ref kube.KeyRef
	// Uses are what its controller does with it.
	Uses Uses
	// Err is why it could not be read; nothing else is set then.
	Err error
	// Rights are those that the account says the key has; AccountErr is why it did not say.
	Rights     []string
	AccountErr error
	// Reads has the outcome of a read of each kind.
	Reads map[string]error
	// Budget is what the API told about its rate limit.
	Budget api.Budget
}

// Uses are the controllers that use a key.
type Uses struct{ CCM, CSI bool }

// Read is something that may have failed to be read.
type Read[T any] struct {
	Value T
	Err   error
}

// Right is something that an account of the cluster must be allowed to do.
type Right struct {
	Need

	Allowed bool
	// Err is why the API server did not answer.
	Err error
}

// Port is an attempt to connect to a node port.
type Port struct {
	Node, Address string
	Err           error
}

// Input is what is known.
type Input struct {
	Keys      []Key
	Nodes     Read[[]*v1.Node]
	CSINodes  Read[[]*storagev1.CSINode]
	Instances Read[[]vultr.Instance]
	Workloads Read[[]kube.Workload]
	Balancers Read[[]balancers.Balancer]
	Rights    []Right
	// Ports are nil if nobody asked for them.
	Ports []Port
	// Version is the plugin's own.
	Version string
	Now     time.Time
}

// Examine returns what was found by each check, in an order to read: what explains what follows comes first.
func Examine(in Input) []report.Finding {
	all := slices.Concat(keys(in), controllers(in), rights(in), nodes(in), drift(in), ports(in))
	return all
}

// finding makes one.
func finding(severity report.Severity, check, object, problem, remedy string) report.Finding {
	return report.Finding{Severity: severity, Check: check, Object: object, Problem: problem, Remedy: remedy}
}

// unread is the finding that a check could not be made.
func unread(check, object string, err error) report.Finding {
	return finding(report.Unknown, check, object, "could not be checked: "+strings.Join(strings.Fields(err.Error()), " "), "see that what is needed can be read, and try again")
}

// drift reports load balancers that are not as their Services ask for.
func drift(in Input) []report.Finding {
	const check = "load-balancer"
	if leftOut(in, manager) {
		return []report.Finding{finding(report.OK, check, "", "Services are not checked: "+manager.what()+" is not installed", "")}
	}
	if in.Balancers.Err != nil {
		return []report.Finding{unread(check, "", in.Balancers.Err)}
	}
	var found []report.Finding
	for _, b := range in.Balancers.Value {
		object := "Service " + b.Service
		switch b.State {
		case balancers.Differs:
			found = append(found, finding(report.Warning, check, object, fmt.Sprintf("load balancer %s differs from what the Service asks for: %s", b.ID, strings.Join(b.Differs, ", ")),
				"if it stays so for minutes, see whether the cloud controller manager runs, and the Service's Events"))
		case balancers.Missing:
			found = append(found, finding(report.Error, check, object, "has no load balancer", "kubectl vultr lb shows why, and so do the Service's Events"))
		case balancers.Faulty:
			found = append(found, finding(report.Error, check, object, "has faults: "+strings.Join(b.Faults, "; "), "kubectl vultr lint names each with what to do"))
		case balancers.Serving, balancers.Pending, balancers.Unmanaged, balancers.Foreign:
		}
	}
	if len(found) == 0 {
		found = append(found, finding(report.OK, check, "", fmt.Sprintf("the load balancers of %d Services are as asked for", len(in.Balancers.Value)), ""))
	}
	return found
}

// ports reports node ports that nobody reaches.
func ports(in Input) []report.Finding {
	const check = "node-port"
	if in.Ports == nil {
		return nil
	}
	var found []report.Finding
	for _, p := range in.Ports {
		if p.Err != nil {
			found = append(found, finding(report.Warning, check, "Node "+p.Node, fmt.Sprintf("%s cannot be reached from here: %v", p.Address, p.Err),
				"load balancers need it: open the node ports (30000-32767) in the node's own firewall (ufw, nftables) and in its firewall group; a closed port may also be closed to this machine only"))
		}
	}
	if len(found) == 0 {
		found = append(found, finding(report.OK, check, "", fmt.Sprintf("%d node ports answer", len(in.Ports)), ""))
	}
	return found
}
