package doctor

import (
	"errors"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
)

// product is one of the two, either of which a cluster can do without.
type product int

const (
	manager product = iota + 1
	driver
)

// what names it.
func (p product) what() string {
	if p == manager {
		return "the cloud controller manager"
	}
	return "the CSI driver"
}

// product returns the one that uses a key, if there is only one.
func (u Uses) product() (product, bool) {
	switch u {
	case Uses{CCM: true}:
		return manager, true
	case Uses{CSI: true}:
		return driver, true
	}
	return 0, false
}

// product returns the one that a ServiceAccount belongs to.
func (n Need) product() product {
	if n.Account == ccmAccount {
		return manager
	}
	return driver
}

// leftOut reports whether a cluster does without a product: nothing of it is there, and something of the other one is.
func leftOut(in Input, p product) bool {
	other := driver
	if p == driver {
		other = manager
	}
	return in.Workloads.Err == nil && !runs(in, p) && !hasSecret(in, p) && runs(in, other)
}

// runs reports whether a workload of a product is there, be it that of the official programs.
func runs(in Input, p product) bool {
	return slices.ContainsFunc(programs, func(program program) bool {
		return program.product == p && slices.ContainsFunc(in.Workloads.Value, func(w kube.Workload) bool { return w.Name == program.workload })
	})
}

// hasSecret reports whether the Secret of a product is there: whoever made that wants the product.
func hasSecret(in Input, p product) bool {
	return slices.ContainsFunc(in.Keys, func(k Key) bool {
		of, one := k.Uses.product()
		return one && of == p && (k.Err == nil || errors.Is(k.Err, kube.ErrNoKey))
	})
}
