package soak

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/steps"
)

var (
	seedFlag   = flag.Uint64("soak.seed", 0, "run this plan alone; 0 runs plans from 1 on")
	keepFlag   = flag.String("soak.keep", "", "with -soak.seed: take only these steps of the plan, such as 0-3,7")
	stepsFlag  = flag.Int("soak.steps", 4000, "how many steps to take in all")
	realFlag   = flag.Int("soak.real-steps", 1000, "how many of them on real disks")
	forFlag    = flag.Duration("soak.for", 0, "take steps for so long instead, of plans that nobody has run")
	shrinkFlag = flag.Duration("soak.shrink", time.Minute, "how long to look for a shorter plan that fails")
	logFlag    = flag.Bool("soak.v", false, "show the driver's log")
)

// perPlan is how many steps a plan has, and quietEvery after how many of them all has to be well.
const (
	perPlan    = 100
	quietEvery = 25
)

func TestMain(m *testing.M) {
	flag.Parse()
	if !*logFlag {
		klog.LogToStderr(false)
		klog.SetOutput(io.Discard)
	}
	testns.Main(m)
}

// TestSoak: volumes and snapshots live on disks in memory.
func TestSoak(t *testing.T) {
	t.Parallel()
	soak(t, *stepsFlag, func(*testing.T) machines { return newMemory() })
}

// soak runs plans until so many steps are taken, or the time is up.
func soak(t *testing.T, steps int, on func(*testing.T) machines) {
	t.Helper()
	began, first := time.Now(), uint64(1)
	if *forFlag > 0 {
		first = uint64(began.UnixNano()) / 1000 * 1000
	}
	if *seedFlag != 0 {
		one(t, *seedFlag, on)
		return
	}
	if testing.Short() {
		steps /= 10
	}
	t.Logf("plans with the seeds from %d on", first)
	total, all := 0, map[string]int{}
	for seed := first; ; seed++ {
		if *forFlag > 0 && time.Since(began) > *forFlag || *forFlag == 0 && total >= steps {
			break
		}
		for name, n := range one(t, seed, on) {
			all[name] += n
		}
		total += perPlan
	}
	t.Logf("%d steps: %s", total, counts(all))
}

func counts(all map[string]int) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		texts = append(texts, fmt.Sprintf("%s %d", name, all[name]))
	}
	return strings.Join(texts, ", ")
}

// one runs the plan of a seed, and a shorter one that fails as well when it does.
func one(t *testing.T, seed uint64, on func(*testing.T) machines) map[string]int {
	t.Helper()
	p := planOf(seed, perPlan)
	var kept []int
	for i := range p.steps {
		kept = append(kept, i)
	}
	if *keepFlag != "" {
		var err error
		if kept, err = steps.Parse(*keepFlag); err != nil {
			t.Fatal(err)
		}
	}
	broken, count := run(t, p.keep(kept), quietEvery, on(t))
	if broken.rule == "" {
		return count
	}
	began := time.Now()
	kept = steps.Shrink(kept, func(rest []int) bool {
		for range 2 { // what runs side by side is not scheduled the same way twice
			if again, _ := run(t, p.keep(rest), quietEvery, on(t)); again.rule == broken.rule {
				broken = again
				return true
			}
		}
		return false
	}, func() bool { return time.Since(began) > *shrinkFlag })
	t.Log("the shortest plan that was found:")
	for i, s := range p.keep(kept).steps {
		t.Logf("%3d: %s", kept[i], s)
	}
	t.Fatalf("%s: %s\n%s\nagain: go test ./test/soak -run '^%s$' -soak.seed=%d -soak.keep=%s", broken.rule, broken.text,
		strings.Join(broken.log, "\n"), t.Name(), seed, steps.Format(kept))
	return nil
}

// TestSoakOnRealDisks: the same with the node plugin, loop devices, file systems and mounts.
func TestSoakOnRealDisks(t *testing.T) {
	t.Parallel()
	testns.NeedDisks(t)
	soak(t, *realFlag, newKernel)
}
