package settings

// The annotations about which load balancer a Service has, what it is called and what becomes of it.
const (
	Hostname           Key = Prefix + "hostname"
	Create             Key = Prefix + "create"
	Label              Key = Prefix + "label"
	ID                 Key = Prefix + "id"
	Retain             Key = Prefix + "retain"
	DeletionProtection Key = Prefix + "deletion-protection"
	Disown             Key = Prefix + "disown"
	// SSLLastUpdated was written by the official controller to trigger its own reconciliation; it asks for nothing.
	SSLLastUpdated Key = Prefix + "ssl-last-updated"
)

// The annotations of Namespaces, by which administrators decide about load balancers that were not made for a Service. They
// hold IDs, separated by commas, and have no effect on a Service, whose editor is not asked.
const (
	// AllowAdoption lets the Services in the Namespace take the load balancers over.
	AllowAdoption Key = Prefix + "allow-adoption"
	// HandOver gives them to the Services that use them: they are deleted with their Services, as those made for them.
	HandOver Key = Prefix + "hand-over"
	// AllowSharing has labels instead of IDs. It lets the Services in the Namespace that name one of them share its load balancer
	// with those of other Namespaces that say so too.
	AllowSharing Key = Prefix + "allow-sharing"
)

// lifeSettings say which load balancer a Service has and what becomes of it.
var lifeSettings = []Setting{
	{
		Key: Hostname, Kind: HostName, Format: "host name in lower case", Since: first, NoClusterDefault: true,
		Doc: "The Service's status has this name instead of the address.",
	},
	{
		Key: Create, Kind: Choice, Values: []string{"true", "false"}, Default: "true", Since: first, Lenient: true,
		Protects: Access, asks: ifOff, NoClusterDefault: true,
		Doc: "With false no load balancer is created, and an existing one is left alone.",
	},
	{
		Key: Label, Kind: Text, Format: "any text but an empty one", DefaultText: "`a` and the Service's UID", Since: first, NoClusterDefault: true,
		Doc: "The load balancer's name in the account. Services of one Namespace with the same label share one load balancer.",
	},
	{
		Key: ID, Kind: UUID, Format: "UUID", DefaultText: "set by the controller", Since: first, NoClusterDefault: true,
		Doc: "The load balancer to use.",
	},
	{
		Key: Retain, Kind: Switch, Default: "false", Since: first, NoClusterDefault: true,
		Doc: "The load balancer, and so its address, is kept when the Service goes. It is paid for until somebody deletes it.",
	},
	{
		Key: DeletionProtection, Kind: Switch, Default: "false", Since: first, NoClusterDefault: true,
		Doc: "The load balancer is not deleted while this is true, and the Service waits for that in deletion.",
	},
	{
		Key: Disown, Kind: Switch, Default: "false", Since: first, NoClusterDefault: true,
		Doc: "The load balancer goes on as it is and belongs to no Service any more; none is made in its place.",
	},
	{Key: AllowAdoption, Kind: Text, Support: OnNamespace, Since: first, Doc: "IDs of load balancers, separated by commas, that Services of the Namespace may take over. They are kept when the Services go."},
	{Key: HandOver, Kind: Text, Support: OnNamespace, Since: first, Doc: "IDs of load balancers that belong to the Services of the Namespace that use them, and are deleted with these."},
	{Key: AllowSharing, Kind: Text, Support: OnNamespace, Since: first, Doc: "Labels, separated by commas, whose load balancers the Services of the Namespace share with those of other Namespaces that name them too."},
	{Key: SSLLastUpdated, Kind: Text, Support: Obsolete, Since: first, Doc: "Was written by the official controller; it has no effect."},
}
