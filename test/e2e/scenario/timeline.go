package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// What is noted on the way of a pod with a volume.
const (
	claimMade     = "claim made"
	nodeChosen    = "node chosen"
	claimBound    = "claim bound"
	podEnds       = "pod told to end"
	podGone       = "pod gone"
	podMade       = "pod made"
	podScheduled  = "pod scheduled"
	detachWanted  = "detachment asked for"
	detached      = "detached"
	attachWanted  = "attachment asked for"
	attached      = "attached"
	sandboxMade   = "volume mounted and sandbox made"
	containerRuns = "container runs"
	podIsReady    = "pod ready"
)

// callsUntil are the driver's calls that what is noted waits for; all else on the way is Kubernetes' own.
var callsUntil = map[string][]string{
	claimBound:   {"CreateVolume"},
	podGone:      {"NodeUnpublishVolume"},
	detachWanted: {"NodeUnstageVolume"},
	detached:     {"ControllerUnpublishVolume"},
	attached:     {"ControllerPublishVolume"},
	sandboxMade:  {"NodeStageVolume", "NodePublishVolume"},
}

// timeline notes when things become so for the first time, as watches tell it.
type timeline struct {
	began   time.Time
	stop    context.CancelFunc
	watches sync.WaitGroup

	mu      sync.Mutex
	old     map[types.UID]bool // objects of before: only their end is of interest
	reached map[string]time.Time
}

// timed follows the namespace's claims and pods of that name, and all attachments, while do works, and reports what
// took how long.
func (w *World) timed(ctx context.Context, what, pod string, do func(context.Context) error) error {
	before, err := w.rpcTimes(ctx)
	if err != nil {
		return err
	}
	t, err := w.follow(ctx, pod)
	if err != nil {
		return err
	}
	err = do(ctx)
	t.stop()
	t.watches.Wait()
	if err != nil {
		return err
	}
	after, err := w.rpcTimes(ctx)
	if err != nil {
		return err
	}
	added := after.since(before)
	w.Report.Add("%s", t.text(what, added))
	w.Report.driver = w.Report.driver.plus(added)
	return nil
}

// follow begins to watch.
func (w *World) follow(ctx context.Context, pod string) (*timeline, error) {
	ctx, stop := context.WithCancel(ctx)
	t := &timeline{began: time.Now(), stop: stop, old: map[types.UID]bool{}, reached: map[string]time.Time{}}
	core, storage := w.Kubernetes.CoreV1(), w.Kubernetes.StorageV1()
	named := "metadata.name=" + pod
	err := errorsOf(
		func() error {
			list, err := core.Pods(w.Namespace).List(ctx, metav1.ListOptions{FieldSelector: named})
			if err != nil {
				return err
			}
			for i := range list.Items {
				t.old[list.Items[i].UID] = true
			}
			return t.note(core.Pods(w.Namespace).Watch(ctx, metav1.ListOptions{FieldSelector: named, ResourceVersion: list.ResourceVersion}))
		},
		func() error {
			list, err := storage.VolumeAttachments().List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			for i := range list.Items {
				t.old[list.Items[i].UID] = true
			}
			return t.note(storage.VolumeAttachments().Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion}))
		},
		func() error {
			list, err := core.PersistentVolumeClaims(w.Namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			for i := range list.Items {
				t.old[list.Items[i].UID] = true
			}
			return t.note(core.PersistentVolumeClaims(w.Namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion}))
		},
	)
	if err != nil {
		stop()
		return nil, err
	}
	return t, nil
}

// errorsOf runs functions until one fails.
func errorsOf(all ...func() error) error {
	for _, do := range all {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// note notes what a watch shows until it ends.
func (t *timeline) note(watching watch.Interface, err error) error {
	if err != nil {
		return err
	}
	t.watches.Go(func() {
		defer watching.Stop()
		for event := range watching.ResultChan() {
			now := time.Now()
			object, ok := event.Object.(metav1.Object)
			if !ok {
				continue // the watch's own end
			}
			t.mu.Lock()
			for _, mark := range marks(object, event.Type == watch.Deleted, t.old[object.GetUID()]) {
				if t.reached[mark].IsZero() {
					t.reached[mark] = now
				}
			}
			t.mu.Unlock()
		}
	})
	return nil
}

// marks tells what an object shows to have become so. Of an old one only its end counts.
func marks(object metav1.Object, deleted, old bool) []string {
	switch o := object.(type) {
	case *corev1.PersistentVolumeClaim:
		if !old && !deleted {
			return claimMarks(o)
		}
	case *corev1.Pod:
		switch {
		case deleted:
			return []string{podGone}
		case o.DeletionTimestamp != nil:
			return []string{podEnds}
		case !old:
			return podMarks(o)
		}
	case *storagev1.VolumeAttachment:
		switch {
		case deleted:
			return []string{detached}
		case o.DeletionTimestamp != nil:
			return []string{detachWanted}
		case o.Status.Attached && !old:
			return []string{attachWanted, attached}
		case !old:
			return []string{attachWanted}
		}
	}
	return nil
}

func claimMarks(c *corev1.PersistentVolumeClaim) []string {
	all := []string{claimMade}
	if c.Annotations["volume.kubernetes.io/selected-node"] != "" {
		all = append(all, nodeChosen)
	}
	if c.Status.Phase == corev1.ClaimBound {
		all = append(all, claimBound)
	}
	return all
}

func podMarks(p *corev1.Pod) []string {
	all := []string{podMade}
	for _, condition := range []struct {
		kind corev1.PodConditionType
		mark string
	}{
		{corev1.PodScheduled, podScheduled},
		{corev1.PodReadyToStartContainers, sandboxMade},
		{corev1.ContainersReady, containerRuns},
		{corev1.PodReady, podIsReady},
	} {
		if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == condition.kind && c.Status == corev1.ConditionTrue
		}) {
			all = append(all, condition.mark)
		}
	}
	if len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Running != nil {
		all = append(all, containerRuns)
	}
	return all
}

// text lists the parts of the way, with what of each was the driver's and what Kubernetes' own.
func (t *timeline) text(what string, driver rpcTimes) string {
	type mark struct {
		name string
		at   time.Time
	}
	var way []mark
	for name, at := range t.reached {
		way = append(way, mark{name, at})
	}
	slices.SortFunc(way, func(a, b mark) int { return a.at.Compare(b.at) })
	// What comes after the pod is ready is not a part of its way.
	if ready := slices.IndexFunc(way, func(m mark) bool { return m.name == podIsReady }); ready >= 0 {
		way = way[:ready+1]
	}
	var lines strings.Builder
	last, ours := t.began, 0.0
	for _, m := range way {
		took, calls := m.at.Sub(last).Seconds(), 0.0
		var named []string
		for _, call := range callsUntil[m.name] {
			calls += driver[call]
			named = append(named, fmt.Sprintf("%s %.2f s", call, driver[call]))
		}
		ours += calls
		fmt.Fprintf(&lines, "\n    %5.2f s  %s", took, m.name)
		if len(named) > 0 {
			fmt.Fprintf(&lines, ": %s, Kubernetes' own %.2f s", strings.Join(named, ", "), max(0, took-calls))
		}
		last = m.at
	}
	total := last.Sub(t.began).Seconds()
	return fmt.Sprintf("%s: %.1f s, of it the driver's calls %.1f s and Kubernetes' own %.1f s%s", what, total, ours, max(0, total-ours), lines.String())
}
