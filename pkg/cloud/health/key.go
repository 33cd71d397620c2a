package health

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// keyPeriod is how often it is looked at what is known of the key, which costs nothing.
	keyPeriod = 5 * time.Second
	// askAfter is how long nobody may have asked the API anything until it is asked here: a stand-by would otherwise learn
	// that its key or its address is refused when it is needed. askAgain is the same while something is wrong.
	askAfter = 5 * time.Minute
	askAgain = 30 * time.Second
	// askTimeout bounds one question.
	askTimeout = 20 * time.Second
	// tellAgain is how soon another refusal is told: a node with two addresses, of which the key's access list has one, would
	// be told of for ever.
	tellAgain = 10 * time.Minute
)

// API is what is needed of the cloud.
type API interface {
	Standing() vultr.Standing
	Account(ctx context.Context) (vultr.Account, error)
}

// Recorder makes Events.
type Recorder interface {
	Eventf(object runtime.Object, eventType, reason, message string, args ...any)
}

// KeyWatch tells of a key that the API refuses, and of one that it accepts again.
type KeyWatch struct {
	API      API
	Recorder Recorder
	// Object is what the Events are about, and Process the name of the process that they come from: the API may refuse the
	// address of one and accept that of another.
	Object  runtime.Object
	Process string

	asked  time.Time
	told   bool      // whether the present refusal was told
	toldAt time.Time // when one was told last
}

// Run watches until ctx ends.
func (w *KeyWatch) Run(ctx context.Context) {
	ticker := time.NewTicker(keyPeriod)
	defer ticker.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *KeyWatch) look(ctx context.Context) {
	if due(w.API.Standing(), w.asked, time.Now()) {
		w.ask(ctx)
	}
	now, logger := w.API.Standing(), klog.FromContext(ctx)
	switch {
	case now.Refusal != nil && !w.told && time.Since(w.toldAt) >= tellAgain:
		w.told, w.toldAt = true, time.Now()
		logger.Error(now.Refusal, "The API refuses the key; nothing is made, changed or deleted until it accepts it, and nothing is restarted for it", "since", now.RefusedSince)
		w.Recorder.Eventf(w.Object, v1.EventTypeWarning, reason.APIKeyRefused, "%s: the API key is refused: %v", w.Process, now.Refusal)
	case now.Refusal == nil && w.told:
		w.told = false
		logger.Info("The API accepts the key again")
		w.Recorder.Eventf(w.Object, v1.EventTypeNormal, reason.APIKeyAccepted, "%s: the API key is accepted again", w.Process)
	}
}

// due reports whether the API is to be asked, because nobody else does.
func due(known vultr.Standing, asked, now time.Time) bool {
	last, patience := known.Answered, askAfter
	if asked.After(last) {
		last = asked
	}
	if known.Refusal != nil || known.Silence != nil {
		patience = askAgain
	}
	return now.Sub(last) >= patience
}

// ask asks for the account. What is answered is learned where all answers are.
func (w *KeyWatch) ask(ctx context.Context) {
	w.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := w.API.Account(ctx); err != nil {
		klog.FromContext(ctx).V(4).Info("Asked whether the API accepts the key", "answer", err)
	}
}
