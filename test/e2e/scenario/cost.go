package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Costs are scenarios that count what one object's life costs in API calls.
func Costs() []Step {
	return []Step{
		{"one volume's life costs at most 12 API calls", volumeCost},
		{"one Service's life costs at most 15 API calls", serviceCost},
	}
}

// Aims for one life, polls and failed attempts included.
const (
	// Created, attached, detached, deleted: 10. The attacher sometimes asks once more for what it has just
	// attached, before it sees its own answer, and the driver then looks at the cloud again: 2.
	volumeCalls = 12
	// Created, looked at until it is active and has an address, changed, deleted.
	serviceCalls = 15
)

// calls are API calls by operation, with the failed ones apart.
type calls struct {
	total, failed int
	text          string
	order         string // one line for each
}

// callsSince counts the calls of the programs whose user agent has that part.
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
	count, counted := map[string]int{}, calls{}
	var order []string
	for _, e := range entries {
		if e.Began.Before(since) || !strings.Contains(e.UserAgent, agent) {
			continue
		}
		counted.total++
		count[e.Operation]++
		order = append(order, fmt.Sprintf("%.1fs %s %d", e.Began.Sub(since).Seconds(), e.Operation, e.Status))
		if e.Status < 200 || e.Status > 299 {
			counted.failed++
		}
	}
	var parts []string
	for operation, n := range count {
		parts = append(parts, fmt.Sprintf("%s %d", operation, n))
	}
	slices.Sort(parts)
	counted.text = fmt.Sprintf("%d calls, %d of them failed: %s", counted.total, counted.failed, strings.Join(parts, ", "))
	counted.order = strings.Join(order, "\n")
	return counted, nil
}

// platformSeconds is what the platform itself takes for a volume's life: the
// simulator's delays for create, attach and detach.
const platformSeconds = 3 + 4 + 4

// volumeCost lives one volume's life: created, attached, used, detached, deleted.
// The one before it is not counted: a process waits out the time in which the
// platform's lists can lag before it first believes them.
func volumeCost(ctx context.Context, w *World) (string, error) {
	if _, err := w.volumeLife(ctx, "volume-first"); err != nil {
		return "", err
	}
	before, err := w.rpcTimes(ctx)
	if err != nil {
		return "", err
	}
	start := time.Now()
	running, err := w.volumeLife(ctx, "volume-cost")
	if err != nil {
		return "", err
	}
	whole := time.Since(start)
	c, err := w.callsSince(ctx, start, "csi")
	if err != nil {
		return "", err
	}
	if c.total > volumeCalls || c.total == 0 {
		return "", fmt.Errorf("a volume's life cost %s; the aim is %d:\n%s", c.text, volumeCalls, c.order)
	}
	after, err := w.rpcTimes(ctx)
	if err != nil {
		return "", err
	}
	total, shares := after.since(before)
	return fmt.Sprintf("claim to running pod %.1f s, whole life %.1f s; %s; the driver's calls took %.2f times the platform's %d s (%s)",
		running.Seconds(), whole.Seconds(), c.text, total/platformSeconds, platformSeconds, shares), nil
}

// volumeLife makes a pod with a volume, deletes both, and gives the time from the claim to the running pod.
func (w *World) volumeLife(ctx context.Context, namespace string) (time.Duration, error) {
	var running time.Duration
	_, err := w.within(ctx, namespace, func(ctx context.Context, w *World) (string, error) {
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
	c, err := w.callsSince(ctx, start, "ccm")
	if err == nil && (c.total > serviceCalls || c.total == 0) {
		err = fmt.Errorf("a Service's life cost %s; the aim is %d:\n%s", c.text, serviceCalls, c.order)
	}
	return fmt.Sprintf("Service to answers %.1f s, whole life %.1f s; %s", reachable.Seconds(), time.Since(start).Seconds(), c.text), err
}
