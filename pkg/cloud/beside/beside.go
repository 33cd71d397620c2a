// Package beside looks whether the official cloud controller manager runs in the same cluster. Both use one lease, so that they
// are never active together; but the one that stands by takes over when the other one fails, and does the same things
// otherwise. So this one does not stand for election until the official one is gone.
package beside

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/official"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
)

const (
	// period is how often it is looked whether the official manager was installed, and lookAgain the same while it runs, or while
	// that is not known.
	period, lookAgain = time.Minute, 5 * time.Second
	// lookTimeout bounds one look.
	lookTimeout = 20 * time.Second
	// tellAgain is how soon the same is told again: an Event is kept for an hour.
	tellAgain = time.Hour
)

// Recorder makes Events.
type Recorder interface {
	Eventf(object runtime.Object, eventType, reason, message string, args ...any)
}

// Watch looks whether the official manager runs. It is safe for concurrent use.
type Watch struct {
	client   kubernetes.Interface
	recorder Recorder
	process  string
	clear    chan struct{} // closed when the official one did not run for the first time
	once     sync.Once

	// These are of the look alone.
	told   string // what was told last
	toldAt time.Time
	blind  bool // whether it was logged that the account may not look

	mu    sync.Mutex
	fault error
	known bool // whether a look has come to an answer yet
}

// New returns what looks once Run runs. The process is named in Events.
func New(client kubernetes.Interface, recorder Recorder, process string) *Watch {
	return &Watch{client: client, recorder: recorder, process: process, clear: make(chan struct{})}
}

// Clear is closed once it was seen that the official manager does not run.
func (w *Watch) Clear() <-chan struct{} { return w.clear }

// Fault returns why this process is not well: the official manager runs, or nobody could say yet whether it does.
func (w *Watch) Fault() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault
}

// Run looks until the context ends.
func (w *Watch) Run(ctx context.Context) {
	for {
		w.look(ctx)
		pause := period
		if w.Fault() != nil {
			pause = lookAgain
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// look finds out how it is now. An API server that does not answer changes nothing that was known.
func (w *Watch) look(ctx context.Context) {
	found, err := w.find(ctx)
	if apierrors.IsForbidden(err) {
		w.unable(ctx, err)
		found, err = nil, nil
	}
	before, now := w.note(found, err)
	switch {
	case found != nil:
		w.tell(ctx, found, now)
	case now == nil:
		w.told = ""
		w.once.Do(func() { close(w.clear) })
		if before != nil {
			klog.FromContext(ctx).Info("The official cloud controller manager does not run, so this process takes part in the election")
		}
	}
}

// note keeps what a look found, and returns what was wrong before and is now.
func (w *Watch) note(found *official.Running, err error) (before, now error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before = w.fault
	switch {
	case err == nil && found != nil:
		w.known, w.fault = true, fmt.Errorf("the official cloud controller manager runs (%s) beside this one: delete one of them, see docs/migrate.md; a process that has just started waits for that, one that leads goes on", found)
	case err == nil:
		w.known, w.fault = true, nil
	case !w.known:
		w.fault = fmt.Errorf("it is not known yet whether the official cloud controller manager runs: %w", err)
	}
	return before, w.fault
}

// tell tells of the official manager, once for as long as an Event is kept.
func (w *Watch) tell(ctx context.Context, found *official.Running, fault error) {
	if w.told == found.String() && time.Since(w.toldAt) < tellAgain {
		return
	}
	w.told, w.toldAt = found.String(), time.Now()
	klog.FromContext(ctx).Error(fault, "Another cloud controller manager runs")
	w.recorder.Eventf(reference(found), v1.EventTypeWarning, reason.OfficialControllerRuns, "%s: %v", w.process, fault)
}

func reference(found *official.Running) *v1.ObjectReference {
	version := "v1"
	if found.Kind == official.CCM.Kind {
		version = appsv1.SchemeGroupVersion.String()
	}
	return &v1.ObjectReference{APIVersion: version, Kind: found.Kind, Namespace: official.Namespace, Name: found.Name, UID: types.UID(found.UID)}
}

// unable logs once that the account may not look: the lease keeps the two apart, and a process that nothing is wrong with must
// not stop because only its image was updated and not its role.
func (w *Watch) unable(ctx context.Context, err error) {
	if !w.blind {
		w.blind = true
		klog.FromContext(ctx).Error(err, "Whether the official cloud controller manager runs is not seen: the account may not look for it; apply deploy/manifests/ccm/rbac.yaml")
	}
}

// find asks for the official manager's workload, and for pods that have its label, as ours have.
func (w *Watch) find(ctx context.Context) (*official.Running, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var workload *official.Workload
	daemons, err := w.client.AppsV1().DaemonSets(official.Namespace).Get(ctx, official.CCM.Name, metav1.GetOptions{})
	switch {
	case err == nil:
		workload = workloadOf(daemons)
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading the DaemonSet %s/%s: %w", official.Namespace, official.CCM.Name, err)
	}
	list, err := w.client.CoreV1().Pods(official.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + official.CCM.Label, ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of %s: %w", official.Namespace, err)
	}
	var pods []official.Pod
	for i := range list.Items {
		p := &list.Items[i]
		pods = append(pods, official.Pod{
			Name: p.Name, UID: string(p.UID), Ended: p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed, Containers: containers(p.Spec),
		})
	}
	return official.CCM.Find(workload, pods), nil
}

// workloadOf takes a DaemonSet whose controller has not looked at it yet for one that will have pods.
func workloadOf(d *appsv1.DaemonSet) *official.Workload {
	w := &official.Workload{UID: string(d.UID), Wanted: d.Status.DesiredNumberScheduled, Pods: d.Status.CurrentNumberScheduled + d.Status.NumberMisscheduled, Containers: containers(d.Spec.Template.Spec)}
	if d.Status.ObservedGeneration < d.Generation {
		w.Wanted = max(w.Wanted, 1)
	}
	return w
}

func containers(spec v1.PodSpec) []official.Container {
	var all []official.Container
	for i := range spec.Containers {
		all = append(all, official.Container{Name: spec.Containers[i].Name, Image: spec.Containers[i].Image})
	}
	return all
}
