package main

import (
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/cloud-provider/options"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
)

// A controller for one class beside another one has a lease of its own, unless somebody names one.
func TestLeaseOfTheClass(t *testing.T) {
	for name, tt := range map[string]struct {
		only bool
		args []string
		want string
	}{
		"for all":             {false, nil, "cloud-controller-manager"},
		"for the class":       {true, nil, classLease},
		"for the class, said": {true, []string{"--leader-elect-resource-name=mine"}, "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			common, err := options.NewCloudControllerManagerOptions()
			if err != nil {
				t.Fatal(err)
			}
			flags := pflag.NewFlagSet("ccm", pflag.ContinueOnError)
			lease := &common.Generic.LeaderElection.ResourceName
			flags.StringVar(lease, "leader-elect-resource-name", *lease, "")
			if err := flags.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			own := cloud.NewOptions()
			own.ClassOnly = tt.only
			ownLease(common, own, flags)
			if *lease != tt.want {
				t.Errorf("lease %q, want %q", *lease, tt.want)
			}
		})
	}
}
