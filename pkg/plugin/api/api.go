// Package api is the Vultr API as the kubectl plugin reaches it: with a key that is never an argument, and with an eye on how
// much of the rate limit is left.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The environment variables that the controllers read too.
const (
	EnvKey = "VULTR_API_KEY"
	EnvURL = "API_URL"
)

// A command makes few calls, and shares the platform's limit with the cluster's controllers.
const (
	startRate = 10
	maxRate   = 10
)

// Budget is what the API told last about its rate limit. The headers are not documented, so it may tell nothing.
type Budget struct {
	// Limit and Remaining are requests; Known is set if the API told both.
	Limit, Remaining int
	Known            bool
}

// Client is the API with one key.
type Client struct {
	*vultr.Client

	budget *watcher
}

// Budget returns what was told last.
func (c *Client) Budget() Budget { return c.budget.get() }

// New returns the API with a key. It makes no call. url is scheme and host, "" for the platform's own.
func New(key, url, userAgent string) (*Client, error) {
	w := &watcher{}
	client, err := vultr.New(vultr.Config{
		BaseURL: url, Key: key, UserAgent: userAgent, StartRate: startRate, MaxRate: maxRate,
		Around: func(next http.RoundTripper) http.RoundTripper {
			w.next = next
			return w
		},
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // it says all
	}
	return &Client{client, w}, nil
}

// watcher reads the rate limit from answers.
type watcher struct {
	next http.RoundTripper

	mu   sync.Mutex
	last Budget
}

func (w *watcher) get() Budget {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// RoundTrip implements http.RoundTripper.
func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := w.next.RoundTrip(r)
	if err != nil {
		return answer, err //nolint:wrapcheck // this only looks
	}
	limit, noLimit := strconv.Atoi(answer.Header.Get("X-RateLimit-Limit"))
	remaining, noRemaining := strconv.Atoi(answer.Header.Get("X-RateLimit-Remaining"))
	if noLimit == nil && noRemaining == nil {
		w.mu.Lock()
		w.last = Budget{limit, remaining, true}
		w.mu.Unlock()
	}
	return answer, nil
}

// Key returns the API key: of the environment variable, else of the first of the Secrets that has one. They are named as in the
// manifests; a controller that has its key from another one is asked for that. The source says where it is from, for people.
func Key(ctx context.Context, getenv func(string) string, cluster *kube.Cluster, secrets ...string) (key, source string, err error) {
	if key = strings.TrimSpace(getenv(EnvKey)); key != "" {
		return key, "the environment variable " + EnvKey, nil
	}
	all, _ := cluster.Workloads(ctx) // who may read the Secrets and not the controllers has the manifests' names left
	var faults []error
	for _, secret := range secrets {
		from := kube.KeyRefOf(all, secret)
		key, err := cluster.Key(ctx, from)
		if err == nil {
			return key, from.String(), nil
		}
		faults = append(faults, err)
	}
	return "", "", fmt.Errorf("no API key: set %s, or give yourself the right to read one of the controllers' Secrets: %w", EnvKey, errors.Join(faults...))
}
