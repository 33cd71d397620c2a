package servicelb

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// wordPause is how often the Namespaces are read whose annotations have decided about an adoption: that soon a change of
// them takes effect. It costs one read of the API server a Namespace, and none of the platform.
const wordPause = 30 * time.Second

// words remembers under which word of the administrator a Service was refused a load balancer, got one to keep only, or shares
// one. It is read again, on a timer of its own, so that another word wakes the Service up. No Namespace is listed or watched for it.
type words struct {
	mu    sync.Mutex
	known map[key]*word
}

// word is what the administrator says to the Namespace of a Service.
type word struct {
	text    string
	changed bool // it is another one since the Service was judged
}

func newWords() *words { return &words{known: map[key]*word{}} }

// wordOf returns what the administrator says about adoptions and shared load balancers, as text.
func wordOf(namespace *v1.Namespace) string {
	return strings.Join(listed(namespace, settings.AllowAdoption), ",") + ";" + strings.Join(listed(namespace, settings.HandOver), ",") +
		";" + namespace.Annotations[string(settings.AllowSharing)]
}

// judged notes that the Service was judged under a word.
func (w *words) judged(service key, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known[service] = &word{text: text}
}

// follow notes under which word a Service is, unless that is known.
func (w *words) follow(service key, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known[service] == nil {
		w.known[service] = &word{text: text}
	}
}

// forget ends the interest in a Service for which nothing depends on the administrator's word.
func (w *words) forget(service key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.known, service)
}

// changed reports whether the word is another one since the Service was judged.
func (w *words) changed(service key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.known[service]
	return known != nil && known.changed
}

// namespaces returns those of the Services that are remembered.
func (w *words) namespaces() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]bool{}
	for service := range w.known {
		all[service.Namespace] = true
	}
	return all
}

// hear compares the word in a Namespace with the remembered ones, and returns the Services for which it has changed.
func (w *words) hear(namespace, text string) []key {
	w.mu.Lock()
	defer w.mu.Unlock()
	var changed []key
	for service, known := range w.known {
		if service.Namespace == namespace && known.text != text {
			known.text, known.changed = text, true
			changed = append(changed, service)
		}
	}
	return changed
}

// listen reads the Namespaces whose word matters until ctx ends.
func (c *Controller) listen(ctx context.Context) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		for name := range maps.Keys(c.words.namespaces()) {
			namespace, err := c.namespace(ctx, name)
			if err != nil {
				if !apierrors.IsNotFound(err) { // its Services go too
					klog.FromContext(ctx).Error(err, "Whether an administrator allows the adoption of a load balancer is not known; it is asked again", "namespace", name)
				}
				continue
			}
			for _, service := range c.words.hear(name, wordOf(namespace)) {
				c.enqueueNamed(service)
			}
		}
	}, wordPause)
}
