package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/api"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/balancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what is asked of the platform with each key.
type API interface {
	Account(ctx context.Context) (vultr.Account, error)
	Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error)
	LoadBalancers(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.LoadBalancer], error)
	Volumes(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Volume], error)
	FileSystems(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.FileSystem], error)
	Snapshots(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Snapshot], error)
	Budget() api.Budget
}

// Gatherer reads what Examine judges. It changes nothing.
type Gatherer struct {
	Cluster *kube.Cluster
	// Connect returns the API with a key.
	Connect func(key string) (API, error)
	// Key is one beside those of the Secrets, "" for none, and Source where it is from.
	Key, Source string
	// Dial connects to node ports; nil tries none.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Version is the plugin's own.
	Version string
	// Now returns the time; nil is time.Now.
	Now func() time.Time
}

// listAge lets what one key has listed serve the checks that follow.
const listAge = time.Minute

// Gather reads everything that can be read. What can't is in the Input as an error.
func (g *Gatherer) Gather(ctx context.Context) Input {
	in := Input{Version: g.Version, Now: time.Now()}
	if g.Now != nil {
		in.Now = g.Now()
	}
	in.Nodes.Value, in.Nodes.Err = g.Cluster.Nodes(ctx)
	in.CSINodes.Value, in.CSINodes.Err = g.Cluster.CSINodes(ctx)
	in.Workloads.Value, in.Workloads.Err = g.Cluster.Workloads(ctx)
	in.Rights = g.rights(ctx)
	best := g.keys(ctx, &in)
	if best == nil {
		err := errors.New("no key could read the account")
		in.Instances.Err, in.Balancers.Err = err, err
		return in
	}
	instances, err := best.Instances(ctx, listAge)
	in.Instances = Read[[]vultr.Instance]{instances.Items, err}
	services, err := g.balancers(ctx, best, &in)
	in.Balancers.Err = err
	if g.Dial != nil {
		in.Ports = g.ports(ctx, in.Nodes.Value, services)
	}
	return in
}

// keys tries each key, and returns the API with the first one that is accepted.
func (g *Gatherer) keys(ctx context.Context, in *Input) API {
	ofCCM, ofCSI := kube.KeyRefOf(in.Workloads.Value, kube.CCMSecret), kube.KeyRefOf(in.Workloads.Value, kube.CSISecret)
	all := []candidate{g.secret(ctx, ofCCM, Uses{CCM: true}), g.secret(ctx, ofCSI, Uses{CSI: true})}
	if ofCCM == ofCSI {
		all = []candidate{g.secret(ctx, ofCCM, Uses{CCM: true, CSI: true})}
	}
	if g.Key != "" {
		all = append([]candidate{{g.Source, g.Key, kube.KeyRef{}, Uses{CCM: true, CSI: true}, nil}}, all...)
	}
	var best API
	for _, c := range all {
		k := Key{Source: c.source, Ref: c.ref, Uses: c.uses, Err: c.err}
		client := g.try(ctx, &k, c.key)
		in.Keys = append(in.Keys, k)
		if best == nil && client != nil {
			best = client
		}
	}
	return best
}

// candidate is a key that is to be tried, or why there is none.
type candidate struct {
	source, key string
	ref         kube.KeyRef
	uses        Uses
	err         error
}

func (g *Gatherer) secret(ctx context.Context, ref kube.KeyRef, uses Uses) candidate {
	key, err := g.Cluster.Key(ctx, ref)
	return candidate{ref.String(), key, ref, uses, err}
}

// try reads with a key what its controllers read. It returns nil for a key that is not accepted.
func (g *Gatherer) try(ctx context.Context, k *Key, key string) API {
	if k.Err != nil {
		return nil
	}
	client, err := g.Connect(key)
	if err != nil {
		k.Err = err
		return nil
	}
	account, err := client.Account(ctx)
	k.Rights, k.AccountErr = account.ACLs, err
	if err != nil && !vultr.IsForbidden(err) {
		return nil
	}
	k.Reads = map[string]error{}
	for _, what := range k.Uses.reads() {
		k.Reads[what] = read(ctx, client, what)
	}
	k.Budget = client.Budget()
	return client
}

func read(ctx context.Context, client API, what string) error {
	var err error
	switch what {
	case readInstances:
		_, err = client.Instances(ctx, listAge)
	case readLoadBalancers:
		_, err = client.LoadBalancers(ctx, listAge)
	case readBlocks:
		_, err = client.Volumes(ctx, listAge)
	case readFileSystems:
		_, err = client.FileSystems(ctx, listAge)
	case readSnapshots:
		_, err = client.Snapshots(ctx, listAge)
	}
	return err //nolint:wrapcheck // it says what was tried
}

// balancers reads the load balancers and judges them. It returns the Services as well.
func (g *Gatherer) balancers(ctx context.Context, client API, in *Input) ([]*v1.Service, error) {
	services, err := g.Cluster.Services(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(in.Nodes.Err, in.Instances.Err); err != nil {
		return services, err
	}
	record, err := g.Cluster.Ledger(ctx)
	if err != nil {
		return services, err
	}
	list, err := client.LoadBalancers(ctx, listAge)
	if err != nil {
		return services, err //nolint:wrapcheck // it says what was tried
	}
	settings, err := g.Cluster.Settings(ctx, in.Workloads.Value)
	if err := errors.Join(err, settings.Unread); err != nil {
		return services, err
	}
	// What may not be read of what Services name is not compared.
	named, _, err := g.Cluster.Named(ctx, services)
	if err != nil {
		return services, err
	}
	in.Balancers.Value = balancers.Show(balancers.Input{
		Services: services, Nodes: in.Nodes.Value, Entries: record.All(), LoadBalancers: list.Items, Instances: in.Instances.Value,
		Defaults: settings.Defaults, KubeProxyPort: settings.KubeProxyPort, Named: named,
	})
	return services, nil
}

// rights asks the API server what the controllers may do.
func (g *Gatherer) rights(ctx context.Context) []Right {
	var all []Right
	for _, need := range Needs() {
		answer, err := g.Cluster.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User:   need.User(),
				Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + kube.System, "system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: need.Namespace, Verb: need.Verb, Group: need.Group, Resource: need.Resource, Subresource: need.Subresource, Name: need.Name,
				},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			// It would be the same for the others: who may not ask about one may ask about none.
			return append(all, Right{Need: need, Err: fmt.Errorf("asking what ServiceAccount %s may do: %w", need.Account, err)})
		}
		all = append(all, Right{Need: need, Allowed: answer.Status.Allowed})
	}
	return all
}

// dialTimeout is how long a node port may take to answer.
const dialTimeout = 3 * time.Second

// ports connects to one TCP node port of the load balancers on each node that has a public address.
func (g *Gatherer) ports(ctx context.Context, nodes []*v1.Node, services []*v1.Service) []Port {
	all := []Port{}
	port := firstPort(services)
	if port == 0 {
		return all
	}
	for _, node := range nodes {
		for _, address := range node.Status.Addresses {
			if address.Type != v1.NodeExternalIP {
				continue
			}
			at := net.JoinHostPort(address.Address, strconv.Itoa(int(port)))
			all = append(all, Port{Node: node.Name, Address: at, Err: g.dial(ctx, at)})
		}
	}
	return all
}

func (g *Gatherer) dial(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := g.Dial(ctx, "tcp", address)
	if err != nil {
		return err //nolint:wrapcheck // the finding says what was tried
	}
	_ = conn.Close() // nothing was sent
	return nil
}

// firstPort returns a TCP node port that every node serves, 0 if there is none: with policy Local a node without a pod does not
// answer.
func firstPort(services []*v1.Service) int32 {
	for _, service := range services {
		if service.Spec.Type != v1.ServiceTypeLoadBalancer || service.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal {
			continue
		}
		for i := range service.Spec.Ports {
			if port := &service.Spec.Ports[i]; port.NodePort != 0 && (port.Protocol == v1.ProtocolTCP || port.Protocol == "") {
				return port.NodePort
			}
		}
	}
	return 0
}
