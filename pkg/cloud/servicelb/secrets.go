package servicelb

import (
	"context"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// certificate reads and checks the TLS Secret of a Service; nil without one. It is read from the API server when it is
// needed: no private key is kept here.
func (c *Controller) certificate(ctx context.Context, service *v1.Service, name string) (*plan.Certificate, error) {
	if name == "" {
		return nil, nil
	}
	secret, err := c.Client.CoreV1().Secrets(service.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("annotation %s: there is no Secret %q in namespace %s", settings.SSL, name, service.Namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the TLS Secret %s/%s: %w", service.Namespace, name, err)
	}
	return plan.ReadCertificate(secret, time.Now())
}

// secrets watches the Secrets that Services name, each one alone and by name, and adds the Services' keys when one
// changes. It keeps nothing of what is in them.
type secrets struct {
	client kubernetes.Interface
	add    func(key)

	mu      sync.Mutex
	active  bool
	wants   map[key]key           // Service to Secret
	watches map[key]chan struct{} // closed to end the watch; nil for one that has not begun
	running sync.WaitGroup
}

func newSecrets(client kubernetes.Interface, add func(key)) *secrets {
	return &secrets{client: client, add: add, wants: map[key]key{}, watches: map[key]chan struct{}{}}
}

// run lets watches run until ctx ends.
func (s *secrets) run(ctx context.Context) {
	s.mu.Lock()
	s.active = true
	for secret := range s.watches {
		s.start(secret)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.active = false
	for secret := range s.watches {
		s.end(secret)
	}
	s.mu.Unlock()
	s.running.Wait()
}

// want says which Secret a Service names now, "" for none.
func (s *secrets) want(service key, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, had := s.wants[service]
	secret := key{Namespace: service.Namespace, Name: name}
	if had && old == secret || !had && name == "" {
		return
	}
	delete(s.wants, service)
	if had && !s.wanted(old) {
		s.end(old)
	}
	if name == "" {
		return
	}
	s.wants[service] = secret
	if _, there := s.watches[secret]; !there {
		s.watches[secret] = nil
		s.start(secret)
	}
}

func (s *secrets) wanted(secret key) bool {
	for _, other := range s.wants {
		if other == secret {
			return true
		}
	}
	return false
}

// end ends a watch. It is called under the lock, as start is.
func (s *secrets) end(secret key) {
	if stop := s.watches[secret]; stop != nil {
		close(stop)
	}
	delete(s.watches, secret)
}

// start begins a watch, as soon as they may run.
func (s *secrets) start(secret key) {
	if !s.active {
		return
	}
	stop := make(chan struct{})
	s.watches[secret] = stop
	_, informer := cache.NewInformerWithOptions(s.options(secret))
	s.running.Go(func() { informer.Run(stop) })
}

// options are those of a watch: it tells of changes, and keeps nothing that is secret.
func (s *secrets) options(secret key) cache.InformerOptions {
	changed := func(any) { s.changed(secret) }
	return cache.InformerOptions{
		ListerWatcher: s.listWatch(secret),
		ObjectType:    &v1.Secret{},
		Transform:     withoutContent,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: changed,
			UpdateFunc: func(before, after any) {
				old, isSecret := before.(*v1.Secret)
				fresh, alsoSecret := after.(*v1.Secret)
				if !isSecret || !alsoSecret || old.ResourceVersion != fresh.ResourceVersion {
					changed(after)
				}
			},
			DeleteFunc: changed,
		},
	}
}

func (s *secrets) listWatch(secret key) cache.ListerWatcher {
	only := fields.OneTermEqualSelector(metav1.ObjectNameField, secret.Name).String()
	secrets := s.client.CoreV1().Secrets(secret.Namespace)
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = only
			return secrets.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = only
			return secrets.Watch(ctx, options)
		},
	}, s.client)
}

// withoutContent keeps what tells two versions of a Secret apart, and nothing that is secret.
func withoutContent(object any) (any, error) {
	secret, ok := object.(*v1.Secret)
	if !ok {
		return object, nil
	}
	return &v1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: secret.Namespace, Name: secret.Name, UID: secret.UID, ResourceVersion: secret.ResourceVersion,
	}}, nil
}

// changed adds the keys of the Services that name the Secret.
func (s *secrets) changed(secret key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for service, named := range s.wants {
		if named == secret {
			s.add(service)
		}
	}
}
