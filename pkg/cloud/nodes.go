package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The flags of what Nodes get, and where their instances are looked for.
const (
	vpcFlag         = "vultr-vpc"
	familiesFlag    = "vultr-address-families"
	labelsFlag      = "vultr-node-labels"
	tagFlag         = "vultr-instance-tag"
	scopeTagFlag    = "vultr-node-scope-tag"
	scopeVPCFlag    = "vultr-node-scope-vpc"
	scopeRegionFlag = "vultr-node-scope-region"
)

// choice returns which addresses Nodes get.
func (o *Options) choice() (addresses.Choice, error) {
	choice, err := addresses.ParseNetwork(o.VPC)
	if err != nil {
		err = o.fault(source{flag: vpcFlag}, err.Error())
	}
	families, familiesErr := addresses.ParseFamilies(o.AddressFamilies)
	if familiesErr != nil {
		familiesErr = o.fault(source{flag: familiesFlag}, fmt.Sprintf("%q %v", o.AddressFamilies, familiesErr))
	}
	choice.Families = families
	return choice, errors.Join(err, familiesErr)
}

// scope returns where the instances of new Nodes are looked for.
func (o *Options) scope() (instances.Scope, error) {
	scope := instances.Scope{Tag: strings.TrimSpace(o.NodeScopeTag), VPC: strings.ToLower(strings.TrimSpace(o.NodeScopeVPC)), Region: strings.ToLower(strings.TrimSpace(o.NodeScopeRegion))}
	if scope.VPC != "" && !vultr.IsID(scope.VPC) {
		return scope, o.fault(source{flag: scopeVPCFlag}, fmt.Sprintf("%q is not the UUID of a VPC", o.NodeScopeVPC))
	}
	return scope, nil
}

// instanceOptions returns what is chosen about Nodes. The error says what is wrong, which Validate has found before.
func (o *Options) instanceOptions(nodes corev1.NodeInterface, api API) (instances.Options, error) {
	choice, err := o.choice()
	scope, scopeErr := o.scope()
	options := instances.Options{ZoneFromRegion: o.ZoneFromRegion, Choice: choice, Scope: scope, Tag: strings.TrimSpace(o.InstanceTag), SetTags: api.SetTags}
	if o.NodeLabels {
		options.Label = func(ctx context.Context, node *v1.Node, changes map[string]any) error {
			return label(ctx, nodes, node, changes)
		}
	}
	return options, errors.Join(err, scopeErr)
}

// label changes labels of this very Node.
func label(ctx context.Context, nodes corev1.NodeInterface, node *v1.Node, changes map[string]any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": node.UID, "labels": changes}})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	if _, err := nodes.Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patching the labels of node %s: %w", node.Name, err)
	}
	return nil
}
