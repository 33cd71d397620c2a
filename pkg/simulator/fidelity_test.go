package simulator_test

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// trait is one trait of the platform with the test that a simulator has it. The name begins with the number of the
// fidelity point that it belongs to.
type trait struct {
	name string
	test func(w *world)
	// config is what the test's cloud is made of.
	config simulator.Config
}

func traits() []trait {
	var all []trait
	for _, some := range [][]trait{apiTraits, instanceTraits, blockTraits, snapshotTraits, vfsTraits, listTraits, balancerTraits, balancerRuleTraits, vpcTraits, consistencyTraits, lateTraits(), firewallTraits} {
		all = append(all, some...)
	}
	return all
}

// checks is what a test's checks need of testing.T, so that a run that has to fail can be judged.
type checks interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// judge records failures instead of failing.
type judge struct{ failures []string }

func (j *judge) Helper() {}

func (j *judge) Errorf(format string, args ...any) {
	j.failures = append(j.failures, fmt.Sprintf(format, args...))
}

func (j *judge) Fatalf(format string, args ...any) {
	j.Errorf(format, args...)
	runtime.Goexit()
}

// proveTraits runs the tests of one fidelity point.
func proveTraits(t *testing.T, point string) {
	t.Helper()
	found := false
	for _, tr := range traits() {
		if !strings.HasPrefix(tr.name, point+"-") {
			continue
		}
		found = true
		t.Run(tr.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tr.test(newWorld(t, t, tr.config)) })
		})
	}
	if !found {
		t.Fatalf("no trait belongs to point %s", point)
	}
}

func TestFidelity01ErrorsAndAuthorization(t *testing.T) { proveTraits(t, "01") }
func TestFidelity02AsynchronousVerbs(t *testing.T)      { proveTraits(t, "02") }

func TestFidelity03InstanceLife(t *testing.T)           { proveTraits(t, "03") }
func TestFidelity04LiveIsFalseByDefault(t *testing.T)   { proveTraits(t, "04") }
func TestFidelity05Attachments(t *testing.T)            { proveTraits(t, "05") }
func TestFidelity06BlockIdentity(t *testing.T)          { proveTraits(t, "06") }
func TestFidelity07BlockSizes(t *testing.T)             { proveTraits(t, "07") }
func TestFidelity08BlocksOutliveInstances(t *testing.T) { proveTraits(t, "08") }
func TestFidelity09BlockSnapshots(t *testing.T)         { proveTraits(t, "09") }
func TestFidelity10FileSystems(t *testing.T)            { proveTraits(t, "10") }
func TestFidelity11Lists(t *testing.T)                  { proveTraits(t, "11") }
func TestFidelity12NoIdempotency(t *testing.T)          { proveTraits(t, "12") }
func TestFidelity13LimitsAndErrors(t *testing.T)        { proveTraits(t, "13") }

func TestFidelity14LoadBalancerLife(t *testing.T)    { proveTraits(t, "14") }
func TestFidelity15LoadBalancerUpdates(t *testing.T) { proveTraits(t, "15") }
func TestFidelity16LoadBalancerRules(t *testing.T)   { proveTraits(t, "16") }

func TestFidelity18FirewallGroups(t *testing.T) { proveTraits(t, "18") }
func TestFidelity17VPCs(t *testing.T)           { proveTraits(t, "17") }
func TestFidelity19Metadata(t *testing.T)       { proveTraits(t, "19") }
func TestFidelity20Consistency(t *testing.T)    { proveTraits(t, "20") }

// TestFidelityIsProven runs the test of each trait against a cloud without it and demands that it fails.
func TestFidelityIsProven(t *testing.T) {
	for _, tr := range traits() {
		t.Run(tr.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &judge{}
				w := newWorld(t, j, tr.config)
				w.sim.TurnOff(tr.name)
				done := make(chan struct{})
				go func() {
					defer close(done)
					tr.test(w)
				}()
				<-done
				if len(j.failures) == 0 {
					t.Errorf("the test of %s passes against a cloud that does not have this trait", tr.name)
				}
			})
		})
	}
}

// TestFidelityIsComplete demands a test for every trait that can be turned off.
func TestFidelityIsComplete(t *testing.T) {
	source, err := os.ReadFile("quirks.go")
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, tr := range traits() {
		tested[tr.name] = true
	}
	known := simulator.LateReads()
	for _, m := range regexp.MustCompile(`quirk = "([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		known = append(known, m[1])
	}
	for _, name := range known {
		if !tested[name] {
			t.Errorf("trait %s has no test", name)
		}
		delete(tested, name)
	}
	for name := range tested {
		t.Errorf("the test of %s is of no trait that can be turned off", name)
	}
}
