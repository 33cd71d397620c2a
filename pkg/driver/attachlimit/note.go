package attachlimit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

// The annotations of a Node by which the controller tells the node plugin of a Proof.
const (
	annotationVolumes = "block.csi.vultr.com/proven-max-volumes"
	annotationAt      = "block.csi.vultr.com/proven-max-volumes-at"
)

const (
	// noteWithin is how long the note may take: the refused call waits for it.
	noteWithin = 5 * time.Second
	// pageSize is how many CSINodes are read at once.
	pageSize = 500
)

// ProofOf reads a proof from a Node's annotations; the zero value is none. What somebody else wrote there is none either.
func ProofOf(annotations map[string]string) Proof {
	n, err := strconv.ParseInt(annotations[annotationVolumes], 10, 64)
	at, errAt := time.Parse(time.RFC3339, annotations[annotationAt])
	if err != nil || errAt != nil || n < 1 {
		return Proof{}
	}
	return Proof{Volumes: n, At: at}
}

// Noter writes proofs to Nodes.
type Noter struct {
	kube   *kubeapi.Client
	driver string
	warner events.Warner
}

// NewNoter returns the Noter of a driver. It needs the rights to list CSINodes and to patch Nodes. People are told by the
// warner.
func NewNoter(kube *kubeapi.Client, driver string, warner events.Warner) *Noter {
	return &Noter{kube: kube, driver: driver, warner: warner}
}

// Refused notes that the platform refused to attach one more volume to an instance that has so many. It returns when the
// note is written, because the kubelet asks its node for the limit as soon as the refusal is known. A note that fails is
// lost: the next refusal makes another one.
func (n *Noter) Refused(ctx context.Context, instance string, volumes int) {
	ctx, cancel := context.WithTimeout(ctx, noteWithin)
	defer cancel()
	log := klog.FromContext(ctx).WithValues("instanceID", instance, "volumes", volumes)
	node, err := n.nodeOf(ctx, instance)
	if err == nil {
		patch := map[string]any{"metadata": map[string]any{"annotations": map[string]string{
			annotationVolumes: strconv.Itoa(max(1, volumes)), annotationAt: time.Now().UTC().Format(time.RFC3339),
		}}}
		err = n.kube.Do(ctx, http.MethodPatch, "/api/v1/nodes/"+url.PathEscape(node), kubeapi.MergePatch, patch, nil)
	}
	if err != nil {
		log.Error(err, "The node is not told that its instance takes no more volumes")
		return
	}
	log.Info("The node's limit of volumes is lowered", "node", node)
	n.warner.Warn(ctx, events.Node(node), events.VolumeLimitLowered, fmt.Sprintf("The platform attaches no more than %d volumes to instance %s. "+
		"For %d hours the scheduler brings no more to this node; remove the annotations %s and %s to have it forgotten at once",
		max(1, volumes), instance, int(proofFor.Hours()), annotationVolumes, annotationAt))
}

// csiNode has the fields of storage/v1's CSINode that are used.
type csiNode struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Drivers []struct {
			Name   string `json:"name"`
			NodeID string `json:"nodeID"`
		} `json:"drivers"`
	} `json:"spec"`
}

// nodeOf returns the name of the node that is the instance, by what its kubelet wrote.
func (n *Noter) nodeOf(ctx context.Context, instance string) (string, error) {
	name, found := "", errors.New("found")
	_, err := kubeapi.List(ctx, n.kube, "/apis/storage.k8s.io/v1/csinodes", pageSize, func(c csiNode) error {
		for _, d := range c.Spec.Drivers {
			if d.Name == n.driver && strings.EqualFold(d.NodeID, instance) {
				name = c.Metadata.Name
				return found
			}
		}
		return nil
	})
	switch {
	case name != "":
		return name, nil
	case err != nil:
		return "", err
	}
	return "", fmt.Errorf("no CSINode has the instance %s", instance)
}
