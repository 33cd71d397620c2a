// Package witness reports whether the account that the API key belongs to shows this cluster's instances.
//
// With the key of another account every read is answered, and every one says 404. So a 404 proves that something is
// gone only if the same key shows other machines of this very cluster: those are the witnesses. One is enough, because
// an instance is in one account.
package witness

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API lists the servers of the account.
type API interface {
	Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error)
}

// Census counts the instances that the provider IDs of the cluster's Nodes name.
type Census struct {
	// Total is how many there are.
	Total int
	// Missing is how many of them the account does not show.
	Missing int
}

// Doubt returns a *DoubtError if no instance of the cluster is in the account, which includes a cluster whose Nodes
// name none.
func (c Census) Doubt() error {
	if c.Missing < c.Total {
		return nil
	}
	return &DoubtError{Missing: c.Missing, Total: c.Total}
}

// DoubtError is returned when the account shows none of the cluster's instances, so that nothing follows from what
// else it does not show.
type DoubtError struct {
	// Missing of Total instances of the cluster are not in the account; both are the same number. They are 0 when no
	// Node has a provider ID yet: such a cluster can neither prove nor disprove anything.
	Missing, Total int
}

// Error says what is doubtful and what to do.
func (e *DoubtError) Error() string {
	if e.Total == 0 {
		return "no node has a provider ID to look for, so it is not known whether the API key belongs to this cluster's account"
	}
	return fmt.Sprintf("none of the cluster's %d instances can be seen with this API key, so nothing is concluded from what is missing; "+
		"does the key belong to another account?", e.Total)
}

// Count takes the census in a list of the account's instances, as Absent does.
func Count(nodes []*v1.Node, list []vultr.Instance, gone ...string) Census {
	absent, total := Absent(nodes, list, gone...)
	return Census{Total: total, Missing: len(absent)}
}

// Absent returns which of the cluster's instances are not in a list of the account's, and how many the cluster has. The
// instances of gone are absent whatever the list says of them.
func Absent(nodes []*v1.Node, list []vultr.Instance, gone ...string) (absent map[string]bool, total int) {
	shown := make(map[string]bool, len(list))
	for _, instance := range list {
		shown[strings.ToLower(instance.ID)] = true
	}
	expected := make(map[string]bool, len(nodes))
	for _, node := range nodes {
		if id, err := providerid.Parse(node.Spec.ProviderID); err == nil {
			expected[id] = true
		}
	}
	for _, id := range gone {
		delete(shown, id)
		expected[id] = true
	}
	total = len(expected)
	maps.DeleteFunc(expected, func(id string, _ bool) bool { return shown[id] })
	return expected, total
}

// Witness takes the census of a cluster.
type Witness struct {
	api   API
	nodes corelisters.NodeLister
}

// New returns the Witness of a cluster that consists of the lister's Nodes.
func New(api API, nodes corelisters.NodeLister) *Witness { return &Witness{api: api, nodes: nodes} }

// Check returns nil if the account shows an instance of this cluster, and a *DoubtError if it shows none. The list that
// it is seen in began at since or later; since is when the question was asked whose answer is to be believed, because an
// older list may have been read with a key that was replaced since. All who ask about the same moment share one list.
//
// The key can be replaced between a question and the list as well. Whoever acts on an absence that can't be undone asks
// twice, with a pause, and checks after each.
func (w *Witness) Check(ctx context.Context, since time.Time) error {
	nodes, err := w.nodes.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	if census := Count(nodes, nil); census.Total == 0 {
		return census.Doubt() // no list can help
	}
	list, err := w.api.Instances(ctx, time.Since(since))
	if err != nil {
		return fmt.Errorf("looking for the cluster's instances: %w", err)
	}
	return Count(nodes, list.Items).Doubt()
}
