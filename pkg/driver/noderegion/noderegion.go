// Package noderegion knows in which region the cluster's nodes are, by their labels: an order that the platform would refuse
// need not be sent to find that out.
//
// It is a hint and proves nothing. People can change a label, and a kubelet writes the label of its own Node and the instance
// in its own CSINode as it likes: the latter may be another node's. So whoever refuses something has to ask the platform.
package noderegion

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
)

const (
	// lookFor is how long a look may take: who asks can do without the answer.
	lookFor = 3 * time.Second
	// listFor is how long a list of CSINodes is believed. Many instances that are asked about at once need one list.
	listFor = 10 * time.Second
	// pauseAfter is how long nothing is asked after an apiserver that did not answer.
	pauseAfter = 30 * time.Second
	// pageSize is how many CSINodes are read at once.
	pageSize = 500
)

// Source reads regions from the cluster. It is safe for concurrent use, and remembers no region: its caller does.
type Source struct {
	kube   *kubeapi.Client
	driver string

	mu sync.Mutex
	// nodes are the nodes by their instances, as of listed.
	nodes  map[string]nodeRef
	listed time.Time
	// quietUntil is when the apiserver may be asked again.
	quietUntil time.Time
}

// nodeRef is a Node by its name and its UID: another one may have the name by now.
type nodeRef struct{ name, uid string }

// New returns the Source of a driver. It needs the rights to list CSINodes and to get Nodes.
func New(kube *kubeapi.Client, driver string) *Source { return &Source{kube: kube, driver: driver} }

// csiNode has the fields of storage/v1's CSINode that are used.
type csiNode struct {
	Metadata struct {
		Name   string `json:"name"`
		Owners []struct {
			UID string `json:"uid"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Spec struct {
		Drivers []struct {
			Name   string `json:"name"`
			NodeID string `json:"nodeID"`
		} `json:"drivers"`
	} `json:"spec"`
}

// node has the fields of core/v1's Node that are used.
type node struct {
	Metadata struct {
		UID    string            `json:"uid"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
}

// Of returns the region of an instance by the label that the kubelet put on its Node when the driver was registered there,
// and in words how that is known. It is "" if the cluster does not say, or does not answer.
func (s *Source) Of(ctx context.Context, instance string) (region, by string) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	ref, err := s.nodeOf(ctx, strings.ToLower(instance))
	if err != nil || ref.name == "" {
		return "", ""
	}
	var n node
	if err := s.kube.Get(ctx, "/api/v1/nodes/"+url.PathEscape(ref.name), &n); err != nil {
		s.failed(ctx, err)
		return "", ""
	}
	region = strings.ToLower(n.Metadata.Labels[topology.Key])
	if region == "" || n.Metadata.UID != ref.uid {
		return "", ""
	}
	return region, fmt.Sprintf("by the label %s of node %s", topology.Key, ref.name)
}

// errQuiet is returned while the apiserver is not asked.
var errQuiet = errors.New("the apiserver did not answer a moment ago")

// nodeOf returns the node that is the instance, the zero value if no node is.
func (s *Source) nodeOf(ctx context.Context, instance string) (nodeRef, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.quietUntil) {
		return nodeRef{}, errQuiet
	}
	ref, ok := s.nodes[instance]
	if age := time.Since(s.listed); ok && age < listFor || age < time.Second {
		return ref, nil
	}
	began, all := time.Now(), map[string]nodeRef{}
	_, err := kubeapi.List(ctx, s.kube, "/apis/storage.k8s.io/v1/csinodes", pageSize, func(c csiNode) error {
		for _, d := range c.Spec.Drivers {
			if d.Name == s.driver && len(c.Metadata.Owners) > 0 {
				all[strings.ToLower(d.NodeID)] = nodeRef{c.Metadata.Name, c.Metadata.Owners[0].UID}
			}
		}
		return nil
	})
	if err != nil {
		s.pause(ctx, err)
		return nodeRef{}, err
	}
	s.nodes, s.listed = all, began
	return all[instance], nil
}

// failed has nothing asked for a while after an error that is not about one node.
func (s *Source) failed(ctx context.Context, err error) {
	if kubeapi.IsNotFound(err) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause(ctx, err)
}

// pause is failed for who holds the lock.
func (s *Source) pause(ctx context.Context, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the caller has gone, which says nothing of the apiserver
	}
	s.quietUntil = time.Now().Add(pauseAfter)
	klog.FromContext(ctx).Info("The regions of nodes are not known, attaches across regions are left to the platform", "reason", err.Error(), "for", pauseAfter)
}
