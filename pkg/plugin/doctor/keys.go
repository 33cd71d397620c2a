package doctor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// What is read to see whether a key may. The names are those of findings.
const (
	readInstances     = "instances"
	readLoadBalancers = "load balancers"
	readBlocks        = "block storage"
	readFileSystems   = "file systems"
	readSnapshots     = "block snapshots"
)

// reads returns what the controllers read with a key.
func (u Uses) reads() []string {
	all := []string{readInstances}
	if u.CCM {
		all = append(all, readLoadBalancers)
	}
	if u.CSI {
		all = append(all, readBlocks, readFileSystems, readSnapshots)
	}
	return all
}

// optional are for features that not every cluster uses.
var optional = []string{readFileSystems, readSnapshots}

const keyCheck = "api-key"

func keys(in Input) []report.Finding {
	var found []report.Finding
	for _, k := range in.Keys {
		if p, one := k.Uses.product(); one && leftOut(in, p) && apierrors.IsNotFound(k.Err) {
			found = append(found, finding(report.OK, keyCheck, k.Source, "there is no API key, and none is needed: "+p.what()+" is not installed", ""))
			continue
		}
		found = append(found, key(k)...)
	}
	return found
}

func key(k Key) []report.Finding {
	switch {
	case errors.Is(k.Err, kube.ErrNoKey), apierrors.IsNotFound(k.Err):
		return []report.Finding{finding(report.Error, keyCheck, k.Source, "there is no API key", creation(k.Ref))}
	case k.Err != nil:
		return []report.Finding{unread(keyCheck, k.Source, k.Err)}
	}
	first, ok := accepted(k)
	if !ok {
		return []report.Finding{first}
	}
	found := append([]report.Finding{first}, forbidden(k)...)
	return append(found, budget(k))
}

// creation says how a Secret is made.
func creation(of kube.KeyRef) string {
	if of == (kube.KeyRef{}) {
		of = kube.KeyRef{Secret: "NAME", Key: "api-key"}
	}
	return fmt.Sprintf("kubectl -n %s create secret generic %s --from-file=%s=FILE (see docs/install.md)", kube.System, of.Secret, of.Key)
}

// accepted reports whether the API takes the key, and what it says of it.
func accepted(k Key) (report.Finding, bool) {
	err := k.AccountErr
	switch {
	case vultr.IsAddressRefused(err):
		return finding(report.Warning, keyCheck, k.Source, "the key's access list does not admit the address of this machine: "+err.Error(),
			"nothing else can be checked from here; see that the list admits all nodes, IPv6 included, and run the check from one of them"), false
	case vultr.IsKeyRefused(err):
		return finding(report.Error, keyCheck, k.Source, "the API refuses the key: "+err.Error(),
			"make a new key in the Vultr console and put it into the Secret; no restart is needed"), false
	case vultr.IsForbidden(err):
		return finding(report.OK, keyCheck, k.Source, "the API accepts the key; it may not read the account, which is not needed", ""), true
	case err != nil:
		return unread(keyCheck, k.Source, err), false
	}
	rights := "none are told"
	if len(k.Rights) > 0 {
		rights = strings.Join(slices.Sorted(slices.Values(k.Rights)), ", ")
	}
	return finding(report.OK, keyCheck, k.Source, "the API accepts the key; its rights: "+rights, ""), true
}

// forbidden reports what the key may not read. That it may write as well is not tried: that would change something.
func forbidden(k Key) []report.Finding {
	var found []report.Finding
	const check = "api-rights"
	for _, what := range slices.Sorted(maps.Keys(k.Reads)) {
		err := k.Reads[what]
		severity := report.Error
		if slices.Contains(optional, what) {
			severity = report.Warning
		}
		switch {
		case err == nil:
		case vultr.IsForbidden(err):
			found = append(found, finding(severity, check, k.Source, fmt.Sprintf("the key may not read %s: %v", what, err), "give the key's user the right in the Vultr console"))
		default:
			found = append(found, unread(check, k.Source, fmt.Errorf("%s: %w", what, err)))
		}
	}
	const balancing = "loadbalancer"
	if k.Uses.CCM && len(k.Rights) > 0 && !slices.Contains(k.Rights, balancing) {
		found = append(found, finding(report.Warning, check, k.Source, fmt.Sprintf("the account lists no right %q for the key", balancing),
			"the cloud controller manager needs to manage load balancers: give the key's user that right"))
	}
	if len(found) == 0 {
		found = append(found, finding(report.OK, check, k.Source, "the key may read "+strings.Join(slices.Sorted(maps.Keys(k.Reads)), ", ")+
			"; whether it may change them is not tried", ""))
	}
	return found
}

// few is the share of the rate limit below which little is left.
const few = 0.2

func budget(k Key) report.Finding {
	const check = "api-rate"
	b := k.Budget
	switch {
	case !b.Known || b.Limit <= 0:
		return finding(report.OK, check, k.Source, "the API does not tell how much of its rate limit is left; vultr_api_requests_total with code 429 counts what it refused", "")
	case float64(b.Remaining) < few*float64(b.Limit):
		return finding(report.Warning, check, k.Source, fmt.Sprintf("%d of %d requests are left of the API's rate limit", b.Remaining, b.Limit),
			"all programs behind one address share it: see which use it up, and lower the rates of the CSI controller (--api-start-rate, --api-max-rate)")
	}
	return finding(report.OK, check, k.Source, fmt.Sprintf("%d of %d requests are left of the API's rate limit", b.Remaining, b.Limit), "")
}
