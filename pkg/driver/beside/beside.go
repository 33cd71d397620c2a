// Package beside keeps the controller from working while the official driver's controller runs in the same cluster. Two
// controllers of one driver name would each make, attach and delete volumes for the same objects; the official one takes part
// in no leader election before v0.19.1, so that no lease keeps them apart.
package beside

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/official"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

const (
	// period is how often it is looked whether the official controller was installed, and lookAgain the same while it runs, or
	// while that is not known.
	period, lookAgain = time.Minute, 5 * time.Second
	// mostReplicas is how many pods the official StatefulSet has at most: v0.18 has one, v0.19.1 two.
	mostReplicas = 2
)

// The objects whose names are the official driver's.
var (
	statefulSet = "/apis/apps/v1/namespaces/" + official.Namespace + "/statefulsets/" + official.CSIController.Name
	pods        = "/api/v1/namespaces/" + official.Namespace + "/pods/"
)

// cluster reads objects by their paths. *kubeapi.Client is one.
type cluster interface {
	Get(ctx context.Context, path string, into any) error
}

// Watch looks whether the official controller runs. It is safe for concurrent use.
type Watch struct {
	kube   cluster
	warner events.Warner
	looked chan struct{} // closed when the first look has ended
	first  sync.Once

	mu    sync.Mutex
	fault error
	known bool // whether a look has come to an answer yet
	// blind is set when it was logged that the account may not look.
	blind bool
}

// New returns what looks once Run runs.
func New(kube cluster, warner events.Warner) *Watch {
	return &Watch{kube: kube, warner: warner, looked: make(chan struct{})}
}

// Check returns why the controller must not work: the official one runs, or nobody could say yet whether it does. It waits for
// the first look.
func (w *Watch) Check(ctx context.Context) error {
	select {
	case <-w.looked:
	case <-ctx.Done():
		return fmt.Errorf("asking whether the official driver's controller runs: %w", context.Cause(ctx))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault
}

// Run looks until the context ends.
func (w *Watch) Run(ctx context.Context) {
	for {
		w.look(ctx)
		pause := period
		if w.Check(ctx) != nil {
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

// look finds out how it is now. An apiserver that does not answer changes nothing that was known.
func (w *Watch) look(ctx context.Context) {
	defer w.first.Do(func() { close(w.looked) })
	found, err := w.find(ctx)
	if kubeapi.IsForbidden(err) {
		w.unable(ctx, err)
		found, err = nil, nil
	}
	w.mu.Lock()
	before := w.fault
	switch {
	case err == nil && found != nil:
		w.known, w.fault = true, fmt.Errorf("the official driver's controller runs (%s): two controllers of one driver must not run at once, so this one does nothing until one of them is deleted, see docs/migrate.md", found)
	case err == nil:
		w.known, w.fault = true, nil
	case !w.known:
		w.fault = fmt.Errorf("it is not known yet whether the official driver's controller runs: %w", err)
	}
	fault := w.fault
	w.mu.Unlock()
	switch {
	case found != nil:
		// The recorder writes the same once an hour, for as long as an Event is kept.
		w.warner.Warn(ctx, events.Object(found.Kind, official.Namespace, found.Name, found.UID), events.OfficialControllerRuns, fault.Error())
	case before != nil && fault == nil:
		klog.FromContext(ctx).Info("The official driver's controller does not run, so this one works")
	}
}

// unable logs once that the account may not look. To stop for that would stop a controller that nothing is wrong with, where
// only its image was updated and not its role.
func (w *Watch) unable(ctx context.Context, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.blind {
		w.blind = true
		klog.FromContext(ctx).Error(err, "Nothing keeps this controller from working beside the official driver's: the account may not look for that one; apply deploy/manifests/csi/controller-rbac.yaml")
	}
}

// workload, pod, metadata and podSpec have the fields of Kubernetes' objects that are used.
type workload struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		Replicas *int32 `json:"replicas"`
		Template struct {
			Spec podSpec `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
	Status struct {
		Replicas int32 `json:"replicas"`
	} `json:"status"`
}

type pod struct {
	Metadata metadata `json:"metadata"`
	Spec     podSpec  `json:"spec"`
	Status   struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

type metadata struct {
	UID string `json:"uid"`
}

type podSpec struct {
	Containers []official.Container `json:"containers"`
}

// find asks for the objects by their names: the right to list pods would be one to read all of them.
func (w *Watch) find(ctx context.Context) (*official.Running, error) {
	var set *official.Workload
	var answer workload
	switch err := w.kube.Get(ctx, statefulSet, &answer); {
	case err == nil:
		wanted := int32(1)
		if answer.Spec.Replicas != nil {
			wanted = *answer.Spec.Replicas
		}
		set = &official.Workload{UID: answer.Metadata.UID, Wanted: wanted, Pods: answer.Status.Replicas, Containers: answer.Spec.Template.Spec.Containers}
	case !kubeapi.IsNotFound(err):
		return nil, err
	}
	var left []official.Pod
	for i := range mostReplicas {
		name := fmt.Sprintf("%s-%d", official.CSIController.Name, i)
		var answer pod
		switch err := w.kube.Get(ctx, pods+name, &answer); {
		case err == nil:
			left = append(left, official.Pod{
				Name: name, UID: answer.Metadata.UID, Ended: answer.Status.Phase == "Succeeded" || answer.Status.Phase == "Failed", Containers: answer.Spec.Containers,
			})
		case !kubeapi.IsNotFound(err):
			return nil, err
		}
	}
	return official.CSIController.Find(set, left), nil
}
