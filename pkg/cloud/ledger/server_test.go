package ledger_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
)

// objectLimit is how large a ConfigMap may be.
const objectLimit = 1 << 20

// server is an API server for ConfigMaps. Other than client-go's fake one, whose tracker it keeps them in, it gives
// them versions, limits their size, takes time for a write, and answers many at a time.
type server struct {
	kubernetes.Interface
	typedv1.CoreV1Interface
	typedv1.ConfigMapInterface
	tracker clienttesting.ObjectTracker

	latency time.Duration
	// broken returns an error for a write that is not done, or whose answer is lost; nil stands for none.
	broken func(verb string) (before, after error)

	unreadable bool
	unlistable error  // of lists
	listed     func() // runs when a list is made and not yet answered; nil does nothing

	mu     sync.Mutex
	gets   int
	lists  int
	writes int
	bytes  int // of all versions of all objects
}

func newServer() *server {
	return &server{tracker: clienttesting.NewObjectTracker(scheme.Scheme, scheme.Codecs.UniversalDecoder()), broken: func(string) (error, error) { return nil, nil }}
}

func (s *server) CoreV1() typedv1.CoreV1Interface              { return s }
func (s *server) ConfigMaps(string) typedv1.ConfigMapInterface { return s }
func (s *server) Get(ctx context.Context, name string, _ metav1.GetOptions) (*v1.ConfigMap, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	if s.unreadable {
		return nil, errDown
	}
	object, err := s.tracker.Get(configMaps, ledger.Namespace, name)
	if err != nil {
		return nil, err
	}
	return object.(*v1.ConfigMap), nil
}

func (s *server) List(ctx context.Context, options metav1.ListOptions) (*v1.ConfigMapList, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found, err := s.list(options)
	if s.listed != nil {
		s.listed()
	}
	return found, err
}

func (s *server) list(options metav1.ListOptions) (*v1.ConfigMapList, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	if s.unlistable != nil {
		return nil, s.unlistable
	}
	selector, err := labels.Parse(options.LabelSelector)
	if err != nil {
		return nil, err
	}
	object, err := s.tracker.List(configMaps, v1.SchemeGroupVersion.WithKind("ConfigMap"), ledger.Namespace)
	if err != nil {
		return nil, err
	}
	all := object.(*v1.ConfigMapList)
	all.Items = slices.DeleteFunc(all.Items, func(cm v1.ConfigMap) bool { return !selector.Matches(labels.Set(cm.Labels)) })
	return all, nil
}

func (s *server) Create(ctx context.Context, cm *v1.ConfigMap, _ metav1.CreateOptions) (*v1.ConfigMap, error) {
	return s.write(ctx, clienttesting.NewCreateAction(configMaps, ledger.Namespace, cm))
}

func (s *server) Patch(ctx context.Context, name string, kind types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*v1.ConfigMap, error) {
	return s.write(ctx, clienttesting.NewPatchAction(configMaps, ledger.Namespace, name, kind, data))
}

var configMaps = v1.SchemeGroupVersion.WithResource("configmaps")

func (s *server) write(ctx context.Context, action clienttesting.Action) (*v1.ConfigMap, error) {
	if s.latency > 0 {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(s.latency):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, after := s.broken(action.GetVerb())
	if before != nil {
		return nil, before
	}
	var object runtime.Object
	var err error
	if patch, is := action.(clienttesting.PatchAction); is {
		var old runtime.Object
		if old, err = s.tracker.Get(configMaps, ledger.Namespace, patch.GetName()); err == nil {
			_, object, err = clienttesting.ObjectReaction(s.tracker)(action)
			if size(object) > objectLimit {
				return nil, fmt.Errorf("too large: %w", s.tracker.Update(configMaps, old, ledger.Namespace))
			}
		}
	} else {
		_, object, err = clienttesting.ObjectReaction(s.tracker)(action)
	}
	if err != nil {
		return nil, err
	}
	cm := object.(*v1.ConfigMap)
	s.writes++
	s.bytes += size(cm)
	cm.ResourceVersion = strconv.Itoa(s.writes)
	if err := s.tracker.Update(configMaps, cm, ledger.Namespace); err != nil {
		return nil, err
	}
	return cm.DeepCopy(), after
}

func size(object runtime.Object) int {
	cm, _ := object.(*v1.ConfigMap)
	if cm == nil {
		return 0
	}
	n := 300 // metadata
	for key, text := range cm.Data {
		n += len(key) + len(text)
	}
	return n
}

// edit changes a ConfigMap as people do.
func (s *server) edit(t *testing.T, name string, change func(*v1.ConfigMap)) {
	t.Helper()
	cm, err := s.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	change(cm)
	s.writes++
	cm.ResourceVersion = strconv.Itoa(s.writes)
	if err := s.tracker.Update(configMaps, cm, ledger.Namespace); err != nil {
		t.Fatal(err)
	}
}

// process returns the ledger of a process that has just begun to lead.
func (s *server) process(t *testing.T) *ledger.Ledger {
	t.Helper()
	l := ledger.New(s)
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

var errDown = apierrors.NewServiceUnavailable("down")
