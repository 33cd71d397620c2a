// Package reason has the reasons of all Events that the cloud provider makes, and says what each of them means. The page
// docs/events.md is made from it.
package reason

import "slices"

// The reasons of Events about load balancers.
const (
	EnsuringLoadBalancer         = "EnsuringLoadBalancer"
	CreatingLoadBalancer         = "CreatingLoadBalancer"
	EnsuredLoadBalancer          = "EnsuredLoadBalancer"
	UpdatedLoadBalancer          = "UpdatedLoadBalancer"
	SyncLoadBalancerFailed       = "SyncLoadBalancerFailed"
	LoadBalancerSettings         = "LoadBalancerSettings"
	CreateOutcomeUnknown         = "CreateOutcomeUnknown"
	DuplicateLoadBalancerDeleted = "DuplicateLoadBalancerDeleted"
	DuplicateLoadBalancer        = "DuplicateLoadBalancer"
	LoadBalancerLate             = "LoadBalancerLate"
	LoadBalancerRecreated        = "LoadBalancerRecreated"
	LoadBalancerAddressChanged   = "LoadBalancerAddressChanged"
	LoadBalancerDrifted          = "LoadBalancerDrifted"
	LoadBalancerAdopted          = "LoadBalancerAdopted"
	LoadBalancerWouldChange      = "LoadBalancerWouldChange"
	LoadBalancerNotAdopted       = "LoadBalancerNotAdopted"
	LoadBalancerKept             = "LoadBalancerKept"
	LoadBalancerNotFound         = "LoadBalancerNotFound"
	LabelTaken                   = "LabelTaken"
	LoadBalancerShared           = "LoadBalancerShared"
	LoadBalancerPortTaken        = "LoadBalancerPortTaken"
	LoadBalancerSharedSetting    = "LoadBalancerSharedSetting"
	FirewallKept                 = "FirewallKept"
	IPFamilyUnmet                = "IPFamilyUnmet"
	NodesLeftOut                 = "NodesLeftOut"
	NodeSelectorEmpty            = "NodeSelectorEmpty"
	VPCNotChosen                 = "VPCNotChosen"
	UnAvailableLoadBalancer      = "UnAvailableLoadBalancer"
	BackendsCleared              = "BackendsCleared"
	BackendsRestored             = "BackendsRestored"
	DeletionProtected            = "DeletionProtected"
	DeletingLoadBalancer         = "DeletingLoadBalancer"
	DeletedLoadBalancer          = "DeletedLoadBalancer"
	DeleteLoadBalancerFailed     = "DeleteLoadBalancerFailed"
	LoadBalancerOrphaned         = "LoadBalancerOrphaned"
	BackendNotFound              = "BackendNotFound"
)

// The reasons of Events about the instances behind Nodes.
const (
	InstanceNotMatched   = "InstanceNotMatched"
	NodeNotInitialised   = "NodeNotInitialised"
	NodeIPNotFound       = "NodeIPNotFound"
	NodeVPCNotFound      = "NodeVPCNotFound"
	ForeignProviderID    = "ForeignProviderID"
	StaleProviderID      = "StaleProviderID"
	InstanceNotSeen      = "InstanceNotSeen"
	MostInstancesNotSeen = "MostInstancesNotSeen"
	InstanceDeleted      = "InstanceDeleted"
	InstanceFound        = "InstanceFound"
)

// The reasons of Events about the controller itself.
const (
	APIKeyRefused          = "APIKeyRefused"
	APIKeyAccepted         = "APIKeyAccepted"
	OfficialControllerRuns = "OfficialControllerRuns"
)

// Event describes the Events of one reason.
type Event struct {
	Reason string
	// Warning is set if something is wrong or lost.
	Warning bool
	// Object is what the Events are about, as kubectl shows it.
	Object string
	// Meaning is what has happened, and Remedy what people should do about it.
	Meaning, Remedy string
}

var table = []Event{
	{
		Reason: EnsuringLoadBalancer, Object: "Service",
		Meaning: "work on the load balancer begins, because the Service is new or was changed",
		Remedy:  "nothing",
	},
	{
		Reason: CreatingLoadBalancer, Object: "Service",
		Meaning: "the platform makes the load balancer; its ID and region are named",
		Remedy:  "wait; minutes are normal",
	},
	{
		Reason: EnsuredLoadBalancer, Object: "Service",
		Meaning: "the load balancer is as the Service asks for, and the Service has its address",
		Remedy:  "nothing",
	},
	{
		Reason: UpdatedLoadBalancer, Object: "Service",
		Meaning: "the load balancer has other backends, because nodes came or went",
		Remedy:  "nothing",
	},
	{
		Reason: SyncLoadBalancerFailed, Warning: true, Object: "Service",
		Meaning: "the load balancer could not be brought to what the Service asks for; every fault of the Service is named, or what the API said",
		Remedy:  "correct what is named; a failure of the API is retried with growing pauses",
	},
	{
		Reason: LoadBalancerSettings, Warning: true, Object: "Service",
		Meaning: "annotations or fields of the Service have no effect, or not the one that they seem to ask for",
		Remedy:  "correct or remove what is named",
	},
	{
		Reason: CreateOutcomeUnknown, Warning: true, Object: "Service",
		Meaning: "the answer to the request that makes a load balancer was lost",
		Remedy:  "wait: it is looked for before another one is made",
	},
	{
		Reason: DuplicateLoadBalancerDeleted, Warning: true, Object: "Service, or ConfigMap in kube-system",
		Meaning: "one request was delivered twice, or outlived its Service, and the superfluous load balancer was deleted",
		Remedy:  "nothing",
	},
	{
		Reason: DuplicateLoadBalancer, Warning: true, Object: "Service",
		Meaning: "further load balancers have the label of this Service, and nothing proves that they are superfluous",
		Remedy:  "delete those that are not needed; all go with the Service",
	},
	{
		Reason: LoadBalancerLate, Warning: true, Object: "Service",
		Meaning: "the platform has not finished the load balancer for ten minutes",
		Remedy:  "if that goes on, ask the platform's support",
	},
	{
		Reason: LoadBalancerRecreated, Warning: true, Object: "Service",
		Meaning: "the load balancer was deleted on the platform, and another one is made, with another address",
		Remedy:  "point DNS records at the new address",
	},
	{
		Reason: LoadBalancerAddressChanged, Warning: true, Object: "Service",
		Meaning: "the load balancer has another address than before; both are named",
		Remedy:  "point DNS records at the new address",
	},
	{
		Reason: LoadBalancerDrifted, Warning: true, Object: "Service",
		Meaning: "somebody changed the load balancer on the platform; what differed is named and is changed back, or left so with `--vultr-drift-repair=false`",
		Remedy:  "make the change in the Service instead",
	},
	{
		Reason: LoadBalancerAdopted, Object: "Service",
		Meaning: "the Service has taken over a load balancer that was not made for it",
		Remedy:  "nothing; the Event says whether it is deleted with the Service",
	},
	{
		Reason: LoadBalancerWouldChange, Object: "Service",
		Meaning: "a load balancer that was taken over will be changed ten seconds later; what it is and what it is to be are named",
		Remedy:  "if that is not meant, set `disown` to true at once, or mend the Service",
	},
	{
		Reason: LoadBalancerNotAdopted, Warning: true, Object: "Service",
		Meaning: "the Service names another load balancer than its own, and may not have it, or there is none with that ID",
		Remedy:  "correct or remove the annotation, or have an administrator allow it on the Namespace",
	},
	{
		Reason: LoadBalancerKept, Object: "Service",
		Meaning: "the Service goes, and the load balancer is left as it is",
		Remedy:  "delete it in the account if nobody needs it",
	},
	{
		Reason: LoadBalancerNotFound, Warning: true, Object: "Service",
		Meaning: "the load balancer of a Service that is being deleted is in no list of the account, and is taken for deleted",
		Remedy:  "see in the account whether it is there, where it is paid for",
	},
	{
		Reason: LabelTaken, Warning: true, Object: "Service",
		Meaning: "the load balancer keeps its name, because an older Service has the wanted one, or it has the form of a name that proves an owner",
		Remedy:  "choose another label",
	},
	{
		Reason: LoadBalancerShared, Object: "Service",
		Meaning: "the Service shares the load balancer of another one that has the same label",
		Remedy:  "nothing",
	},
	{
		Reason: LoadBalancerPortTaken, Warning: true, Object: "Service",
		Meaning: "ports of the Service are not served by the load balancer that it shares, because another Service had them first, it forwards 15 already, or it can't redirect them to https as the Service asks",
		Remedy:  "use other ports, or a label of its own",
	},
	{
		Reason: LoadBalancerSharedSetting, Warning: true, Object: "Service",
		Meaning: "settings of the Service have no effect, because the load balancer that it shares has them once for all, and follows the oldest Service; or no node is right for this Service and the older ones",
		Remedy:  "set them on the Service that is named, have pods on the same nodes, or use a label of its own",
	},
	{
		Reason: FirewallKept, Warning: true, Object: "Service",
		Meaning: "the load balancer has firewall rules that do not come from this Service; they are kept",
		Remedy:  "an empty `firewall-rules` removes them",
	},
	{
		Reason: IPFamilyUnmet, Warning: true, Object: "Service",
		Meaning: "the Service requires two families of addresses, and the load balancer has an address of one, which is published",
		Remedy:  "change `ipFamilyPolicy`, or ask the platform's support",
	},
	{
		Reason: NodesLeftOut, Warning: true, Object: "Service",
		Meaning: "some nodes are not backends; each is named with the reason",
		Remedy:  "see the reasons in the Event",
	},
	{
		Reason: NodeSelectorEmpty, Warning: true, Object: "Service",
		Meaning: "no node that can be a backend has the labels of `node-selector`; the load balancer keeps its last backends",
		Remedy:  "correct the selector, or label nodes",
	},
	{
		Reason: VPCNotChosen, Warning: true, Object: "Service",
		Meaning: "the load balancer stays in the network that it is in, because the one that `vpc` asks for reaches no node, or several could be meant",
		Remedy:  "name the VPC, or put the nodes into it",
	},
	{
		Reason: UnAvailableLoadBalancer, Warning: true, Object: "Service",
		Meaning: "no node can be a backend; the load balancer keeps its last ones for five minutes",
		Remedy:  "see why the nodes are not ready; those that are left out are named",
	},
	{
		Reason: BackendsCleared, Warning: true, Object: "Service",
		Meaning: "no node could be a backend for five minutes, and the load balancer has none now",
		Remedy:  "see why the nodes are not ready",
	},
	{
		Reason: BackendsRestored, Object: "Service",
		Meaning: "nodes can be backends again",
		Remedy:  "nothing",
	},
	{
		Reason: DeletionProtected, Warning: true, Object: "Service",
		Meaning: "the Service is to go, and its load balancer is protected from being deleted; it is left as it is, and follows no changes",
		Remedy:  "set `deletion-protection` to false to have it deleted, or `retain` to true to keep it",
	},
	{
		Reason: DeletingLoadBalancer, Object: "Service",
		Meaning: "the load balancer is being deleted",
		Remedy:  "nothing",
	},
	{
		Reason: DeletedLoadBalancer, Object: "Service",
		Meaning: "the load balancer is gone",
		Remedy:  "nothing",
	},
	{
		Reason: DeleteLoadBalancerFailed, Warning: true, Object: "Service",
		Meaning: "the load balancer could not be deleted, or it is not proven that it is gone; the finalizer stays",
		Remedy:  "the Event says what the API said; it is retried",
	},
	{
		Reason: LoadBalancerOrphaned, Warning: true, Object: "ConfigMap in kube-system",
		Meaning: "a load balancer was made for a Service that does not exist any more, or needs none",
		Remedy:  "delete it in the account; it is paid for",
	},
	{
		Reason: BackendNotFound, Warning: true, Object: "Node",
		Meaning: "the platform knows no instance with the node's ID, so load balancers leave the node out",
		Remedy:  "see whether the API key is the one of the cluster's account, and the node's provider ID",
	},
	{
		Reason: InstanceNotMatched, Warning: true, Object: "Node",
		Meaning: "no instance has the node's name, or several have",
		Remedy:  "rename the instance, or start the kubelet with `--provider-id=vultr://UUID`",
	},
	{
		Reason: NodeNotInitialised, Warning: true, Object: "Node",
		Meaning: "the node has been without provider ID, addresses and labels for 30 seconds, and so gets no pods; the reason is named",
		Remedy:  "see the reason; it is tried again",
	},
	{
		Reason: NodeIPNotFound, Warning: true, Object: "Node",
		Meaning: "the kubelet's `--node-ip` is not an address of its instance",
		Remedy:  "use one of the addresses in the Event, or attach the instance to that VPC",
	},
	{
		Reason: NodeVPCNotFound, Warning: true, Object: "Node",
		Meaning: "the instance is not in the network that `--vultr-vpc` names; the node has the addresses that it would have without that flag",
		Remedy:  "attach the instance to that VPC, or correct the flag",
	},
	{
		Reason: ForeignProviderID, Warning: true, Object: "Node",
		Meaning: "the node's provider ID is another cloud's; the node is left alone",
		Remedy:  "nothing, if that is meant",
	},
	{
		Reason: StaleProviderID, Warning: true, Object: "Node",
		Meaning: "the machine was made again under the node's name, or its kubelet reports though its instance is gone",
		Remedy:  "drain and delete the node, restart the kubelet",
	},
	{
		Reason: InstanceNotSeen, Warning: true, Object: "Node",
		Meaning: "the instance is not found, and neither are the cluster's other instances",
		Remedy:  "give the key of the account that the cluster is in",
	},
	{
		Reason: MostInstancesNotSeen, Warning: true, Object: "Node",
		Meaning: "more instances are missing than `--node-deletion-limit` allows, so no node is deleted",
		Remedy:  "give the right key, or confirm each node by the command in the Event",
	},
	{
		Reason: InstanceDeleted, Warning: true, Object: "Node",
		Meaning: "the instance is proven deleted; the node is marked out of service, so that pods and disks move",
		Remedy:  "nothing",
	},
	{
		Reason: InstanceFound, Object: "Node",
		Meaning: "the node is no longer marked out of service",
		Remedy:  "nothing",
	},
	{
		Reason: APIKeyRefused, Warning: true, Object: "Lease in kube-system",
		Meaning: "the API refuses the key of the controller that is named, or the address of its node; nothing is made, changed or deleted",
		Remedy:  "put the right key into the Secret, or the address into the key's access list; nothing has to be restarted",
	},
	{
		Reason: APIKeyAccepted, Object: "Lease in kube-system",
		Meaning: "the API accepts the key again",
		Remedy:  "nothing",
	},
	{
		Reason: OfficialControllerRuns, Warning: true, Object: "DaemonSet or Pod in kube-system",
		Meaning: "the official cloud controller manager runs beside this one; a process that has just started waits for its end, one that leads goes on and is not ready",
		Remedy:  "delete one of the two, as docs/migrate.md says; nothing has to be restarted",
	},
}

// All returns all of them, those about load balancers first, in the order in which a life of one makes them.
func All() []Event { return slices.Clone(table) }
