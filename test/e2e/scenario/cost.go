package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Costs are scenarios that count what one object's life costs in API calls.
func Costs() []Step {
	return []Step{
		{fmt.Sprintf("one volume's life costs at most %d API calls", volumeCalls), volumeBudget},
		{fmt.Sprintf("one Service's life costs at most %d API calls", serviceCalls), serviceCost},
	}
}

// Aims for one life, polls and failed attempts included.
const (
	// A list that shows no volume of the name, four orders, a wait after each of the first three, and a look before each of
	// the last two: 10. One more for a wait that ended just too early, or for the look for a duplicate if no other list was
	// read at its time. TestBudgetOfALife holds it at many phases of the clock.
	volumeCalls = 11
	// Created, looked at until it is active and has an address, changed, deleted until reads show it.
	serviceCalls = 15
)

// calls are API calls by operation, with the failed ones apart.
type calls struct {
	total, failed int
	operations    map[string]int
	order         []string // one line for each
}

// String lists the operations.
func (c *calls) String() string {
	var parts []string
	for operation, n := range c.operations {
		parts = append(parts, fmt.Sprintf("%s %d", operation, n))
	}
	slices.Sort(parts)
	return fmt.Sprintf("%d API calls, %d of them failed (%s)", c.total, c.failed, strings.Join(parts, ", "))
}

// add adds later calls.
func (c *calls) add(more calls) {
	if c.operations == nil {
		c.operations = map[string]int{}
	}
	for operation, n := range more.operations {
		c.operations[operation] += n
	}
	c.total, c.failed, c.order = c.total+more.total, c.failed+more.failed, append(c.order, more.order...)
}

// atMost refuses more calls than that, and none at all: then nothing was counted.
func (c *calls) atMost(most int) error {
	if c.total > most || c.total == 0 {
		return fmt.Errorf("%s; the aim is %d:\n%s", c, most, strings.Join(c.order, "\n"))
	}
	return nil
}

// callsSince counts the calls in the simulated cloud's own log, of the programs whose user agent has that part, without
// those that prove the key.
func (w *World) callsSince(ctx context.Context, since time.Time, agent string) (calls, error) {
	var entries []struct {
		Began     time.Time `json:"began"`
		Operation string    `json:"operation"`
		Status    int       `json:"status"`
		UserAgent string    `json:"user_agent"`
	}
	if err := w.Admin.Get(ctx, "/requests?n=10000", &entries); err != nil {
		return calls{}, err
	}
	var counted calls
	for _, e := range entries {
		if e.Began.Before(since) || !strings.Contains(e.UserAgent, agent) || e.Operation == keyProof {
			continue
		}
		one := calls{total: 1, operations: map[string]int{e.Operation: 1}}
		if e.Status < 200 || e.Status > 299 {
			one.failed = 1
		}
		one.order = []string{fmt.Sprintf("%.1fs %s %d", e.Began.Sub(since).Seconds(), e.Operation, e.Status)}
		counted.add(one)
	}
	return counted, nil
}

// What a volume's life takes without the driver: the simulated platform's delays for create, attach and detach, and a
// second each until reads show that they are over. A wait cannot end before a read does.
const (
	platformSeconds = 3 + 4 + 4
	shownSeconds    = platformSeconds + 3
	// The same for a volume that is created, attached and moved once.
	movedSeconds      = platformSeconds + 4
	movedShownSeconds = movedSeconds + 4
)

// overIdeal puts seconds in relation to what the platform takes, and what it takes until reads show it.
func overIdeal(seconds, platform, shown float64) string {
	return fmt.Sprintf("%.2f times the platform's %.0f s, %.2f times the %.0f s until its reads show it",
		seconds/platform, platform, seconds/shown, shown)
}

// keyProof is the one operation that is never part of an object's life: only a proof of the key asks for the account, which
// is made at the start and once a minute by a process that has nothing else to do.
const keyProof = "get_account"

// attacherReads is the call by which the attacher compares its attachments with the platform every ten minutes (flag
// --reconcile-sync), which costs a list.
const attacherReads = "ListVolumes"

// orphansLooked is when the controller that leads last looked for orphans. It does so every quarter of an hour, which costs a list
// of each kind of storage and of snapshots unless it has read one lately. One that does not lead looks for none and shows none.
var orphansLooked = regexp.MustCompile(`(?m)^(csi_orphaned_volumes_last_look_timestamp_seconds)(?:\{[^}]*\})? (\S+)$`)

// catalogue are the reads of what the platform sells where, by which the provisioner is told of the capacity. They are made once in ten
// minutes at most, whoever asks.
var catalogue = []string{"list_regions", "list_vfs_regions"}

// lookOwed is how long after a create the driver may look for a duplicate: its settle time, the time that it waits for a list
// which is read anyway (TwinCheck), and what the list takes.
const lookOwed = time.Minute

// volumeBudget holds a life to its budget of which each call that is counted is the life's own. The looks that earlier volumes
// are owed are waited for; if a list was read meanwhile that belongs to no volume the life is lived again, whatever it has
// cost. The attacher that leads reads such lists, and the controller that it calls for orphans, and for the capacity, each in ten
// minutes at most once.
func volumeBudget(ctx context.Context, w *World) (string, error) {
	if err := w.wait(ctx, "the driver has looked for orphans", func(ctx context.Context) error {
		_, err := w.nobodysReads(ctx)
		return err
	}); err != nil {
		return "", err
	}
	const lives = 4
	for range lives {
		if err := w.noLookOwed(ctx); err != nil {
			return "", err
		}
		before, err := w.nobodysReads(ctx)
		if err != nil {
			return "", err
		}
		detail, counted, err := w.volumeCost(ctx)
		if err != nil {
			return "", err
		}
		after, err := w.nobodysReads(ctx)
		if err != nil {
			return "", err
		}
		sold := slices.ContainsFunc(catalogue, func(operation string) bool { return counted.operations[operation] > 0 })
		if maps.Equal(after, before) && !sold {
			return detail, counted.atMost(volumeCalls)
		}
	}
	return "", fmt.Errorf("in %d lives in a row a list was read for the attacher, for orphans or of what is sold where, each should come once in ten minutes", lives)
}

// noLookOwed waits until no volume or snapshot is so young that the driver has still to look for a duplicate of it.
func (w *World) noLookOwed(ctx context.Context) error {
	return w.wait(ctx, "the driver owes no look for a duplicate", func(ctx context.Context) error {
		recent, err := w.callsSince(ctx, time.Now().Add(-lookOwed), "csi")
		if err != nil {
			return err
		}
		for operation := range recent.operations {
			if strings.HasPrefix(operation, "create_") {
				return fmt.Errorf("%s was called within %s", operation, lookOwed)
			}
		}
		return nil
	})
}

// nobodysReads tells apart when lists were read that are part of no volume's life.
func (w *World) nobodysReads(ctx context.Context) (map[string]float64, error) {
	reads, err := w.sums(ctx, orphansLooked)
	if err != nil {
		return nil, err
	}
	if len(reads) == 0 {
		return nil, errors.New("no driver process tells when it looked for orphans")
	}
	reads[attacherReads], err = w.rpcCount(ctx, attacherReads)
	return reads, err
}

// volumeCost lives one volume's life: created, attached, used, detached, deleted.
func (w *World) volumeCost(ctx context.Context) (string, calls, error) {
	before, err := w.rpcTimes(ctx)
	if err != nil {
		return "", calls{}, err
	}
	start := time.Now()
	running, err := w.volumeLife(ctx, "volume-cost")
	if err != nil {
		return "", calls{}, err
	}
	whole := time.Since(start)
	counted, err := w.callsSince(ctx, start, "csi")
	if err != nil {
		return "", calls{}, err
	}
	after, err := w.rpcTimes(ctx)
	if err != nil {
		return "", calls{}, err
	}
	total, shares := after.since(before).life()
	ratio := overIdeal(total, platformSeconds, shownSeconds)
	w.Report.Add("one volume's life, failed attempts included: %s", &counted)
	w.Report.Add("the driver's calls in it took %s: %s", ratio, shares)
	return fmt.Sprintf("%d API calls; claim to running pod %.1f s, whole life %.1f s; the driver's calls took %s",
		counted.total, running.Seconds(), whole.Seconds(), ratio), counted, nil
}

// volumeLife makes a pod with a volume, deletes both, and returns the time from the claim to the running pod.
func (w *World) volumeLife(ctx context.Context, namespace string) (time.Duration, error) {
	var running time.Duration
	inner := *w
	inner.amongBalancers = true
	_, err := inner.within(ctx, namespace, func(ctx context.Context, w *World) (string, error) {
		start := time.Now()
		if err := w.createDatabasePod(ctx); err != nil {
			return "", err
		}
		_, err := w.readyPod(ctx, database, "")
		running = time.Since(start)
		return "", err
	})
	return running, err
}

// webAndVolume shows the load balancer, and counts a volume's life while the platform makes it: the two products'
// calls are told apart by their user agents.
func webAndVolume(ctx context.Context, w *World) (string, error) {
	type result struct {
		detail string
		err    error
	}
	volume := make(chan result, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		detail, _, err := w.volumeCost(ctx)
		volume <- result{detail, err}
	}()
	start := time.Now()
	detail, err := webAnswers(ctx, w)
	if err != nil {
		cancel()
		<-volume // it cleans up
		return "", err
	}
	took := time.Since(start)
	if w.Report.serviceCalls, err = w.callsSince(ctx, start, "ccm"); err != nil {
		return "", err
	}
	life := <-volume
	return fmt.Sprintf("%s after %.1f s; the volume: %s", detail, took.Seconds(), life.detail), life.err
}

// mainJobEnds deletes everything and reports what the Service has cost.
func mainJobEnds(ctx context.Context, w *World) (string, error) {
	start := time.Now()
	detail, err := everythingDeleted(ctx, w)
	if err != nil {
		return "", err
	}
	last, err := w.callsSince(ctx, start, "ccm")
	if err != nil {
		return "", err
	}
	w.Report.serviceCalls.add(last)
	w.Report.Add("one Service's life, failed attempts included, without the destroyed instance's: %s", &w.Report.serviceCalls)
	return detail, nil
}

// serviceCost lives one Service's life: created, reachable, deleted.
func serviceCost(ctx context.Context, w *World) (string, error) {
	start, reachable := time.Now(), time.Duration(0)
	_, err := w.within(ctx, "service-cost", func(ctx context.Context, w *World) (string, error) {
		if err := CreateWeb(ctx, w.Kubernetes, w.Namespace); err != nil {
			return "", err
		}
		address, err := w.balancerAddress(ctx)
		if err != nil {
			return "", err
		}
		err = w.wait(ctx, "both pods answer", func(ctx context.Context) error { return w.bothAnswer(ctx, address) })
		reachable = time.Since(start)
		return "", err
	})
	if err != nil {
		return "", err
	}
	counted, err := w.callsSince(ctx, start, "ccm")
	if err != nil {
		return "", err
	}
	if err := counted.atMost(serviceCalls); err != nil {
		return "", fmt.Errorf("a Service's life cost %w", err)
	}
	return fmt.Sprintf("Service to answers %.1f s, whole life %.1f s; %s", reachable.Seconds(), time.Since(start).Seconds(), &counted), nil
}
