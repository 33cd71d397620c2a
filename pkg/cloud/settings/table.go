package settings

// first is the release that introduced the settings of the official controller.
const first = "v0.1.0"

// The platform's limits, from its documentation.
const (
	maxNodes = 99
	// maxTimeout is a day in seconds. The platform documents no limit; more is a mistake.
	maxTimeout     = 24 * 60 * 60
	maxHealthCheck = 300
)

var table = []Setting{
	{
		Key: Protocol, Kind: Choice, Values: protocols, Default: "tcp", Since: first, Protects: Encryption, asks: ifTLS,
		Doc: "What clients speak to the TCP ports. UDP ports are always udp.",
	},
	{
		Key: HTTPSPorts, Kind: PortList, Since: first, Protects: Encryption, asks: unlessEmpty, NoClusterDefault: true,
		Doc: "These ports are https, whatever `protocol` says.",
	},
	{
		Key: BackendProtocol, Kind: Choice, Values: protocols, DefaultText: "same as the clients'", Since: first,
		Lenient: true, Protects: Encryption, asks: ifTLS,
		Doc: "What the load balancer speaks to the pods of http and https ports.",
	},
	{
		Key: SSL, Kind: ObjectName, Format: "name of a TLS Secret", Since: first, Protects: Encryption, asks: unlessEmpty, NoClusterDefault: true,
		Doc: "The certificate of https ports. The Secret is in the namespace of the Service.",
	},
	{
		Key: SSLPassThrough, Kind: Switch, Default: "false", Since: first, Lenient: true, Protects: Encryption, asks: unlessOff,
		Doc: "The pods terminate TLS: https ports are forwarded as tcp, without a certificate.",
	},
	{
		Key: SSLRedirect, Kind: Switch, Default: "false", Since: first, Lenient: true, Protects: Encryption, asks: unlessOff,
		Doc: "Redirects http to https. Needs a port of each.",
	},
	{
		Key: HTTP2, Kind: Switch, Default: "false", Since: first, Lenient: true,
		Doc: "Offers HTTP/2. Needs an https port.",
	},
	{
		Key: HTTP3, Kind: Switch, Default: "false", Since: first, Lenient: true,
		Doc: "Offers HTTP/3, which uses the UDP port of the same number. Needs `http2`.",
	},
	{
		Key: ProxyProtocol, Kind: Switch, Default: "false", Since: first, Lenient: true,
		Doc: "Tells the pods the client's address by the PROXY protocol, which they must expect.",
	},
	{
		Key: Algorithm, Kind: Choice, Values: []string{"roundrobin", "least_connections"}, Aliases: map[string]string{"leastconn": "least_connections"},
		Default: "roundrobin", Since: first, Lenient: true,
		Doc: "How the backend of a connection is chosen.",
	},
	{
		Key: StickySessionEnabled, Kind: Choice, Values: []string{"on", "off"}, Default: "off", Since: first, Lenient: true,
		Doc: "Ties a client to a backend by a cookie, on http and https ports.",
	},
	{
		Key: StickySessionCookieName, Kind: CookieName, Format: "name of a cookie", Since: first,
		Doc: "The cookie of `sticky-session-enabled`, which requires it.",
	},
	{
		Key: Timeout, Kind: Number, Lowest: 1, Highest: maxTimeout, Zero: true, Default: "600", Since: first,
		Doc: "Seconds after which an idle connection is closed.",
	},
	{
		Key: NodeCount, Kind: Number, Lowest: 1, Highest: maxNodes, Odd: true, Default: "1", Since: first,
		Doc: "How many machines the load balancer consists of.",
	},
	{
		Key: HealthCheckProtocol, Kind: Choice, Values: []string{"tcp", "http", "https"}, Since: first,
		DefaultText: "tcp, or http if `healthcheck-path` is set",
		Doc:         "The load balancer has one health check for all its ports.",
	},
	{
		Key: HealthCheckPort, Kind: PortReference, Format: "name, number or node port of a TCP port of the Service, or 10256",
		DefaultText: "the first TCP port", Since: first,
		Doc: "Where the nodes are checked. For Services with UDP ports only it is kube-proxy (10256).",
	},
	{
		Key: HealthCheckPath, Kind: URLPath, Format: "path that begins with /", DefaultText: "`/`", Since: first,
		Doc: "What http and https checks request.",
	},
	{
		Key: HealthCheckInterval, Kind: Number, Lowest: 1, Highest: maxHealthCheck, Zero: true, Default: "15", Since: first,
		Doc: "Seconds between two checks.",
	},
	{
		Key: HealthCheckTimeout, Kind: Number, Lowest: 1, Highest: maxHealthCheck, Zero: true, Default: "5", Since: first,
		Doc: "Seconds within which a check must be answered.",
	},
	{
		Key: HealthCheckUnhealthy, Kind: Number, Lowest: 1, Highest: maxHealthCheck, Zero: true, Default: "5", Since: first,
		Doc: "Failed checks in a row that take a backend out.",
	},
	{
		Key: HealthCheckHealthy, Kind: Number, Lowest: 1, Highest: maxHealthCheck, Zero: true, Default: "5", Since: first,
		Doc: "Successful checks in a row that bring it back.",
	},
	{
		Key: FirewallRules, Kind: SourceList, Format: "`source,port;...`, each source a range or `cloudflare`", DefaultText: "everybody",
		Since: first, Protects: Access, asks: unlessEmpty,
		Doc: "Who may connect, in addition to `loadBalancerSourceRanges`.",
	},
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
		Doc: "The load balancer's name in the account.",
	},
	{
		Key: ID, Kind: UUID, Format: "UUID", DefaultText: "set by the controller", Since: first, NoClusterDefault: true,
		Doc: "The load balancer to use.",
	},

	{Key: AllowAdoption, Kind: Text, Support: OnNamespace, Since: first, Doc: "IDs of load balancers, separated by commas, that Services of the Namespace may take over. They are kept when the Services go."},
	{Key: HandOver, Kind: Text, Support: OnNamespace, Since: first, Doc: "IDs of load balancers that belong to the Services of the Namespace that use them, and are deleted with these."},

	{
		Key: AutoSSL, Kind: ObjectName, Support: Unsupported, Since: first, Protects: Encryption, asks: unlessEmpty,
		Doc: "A certificate that the platform issues.",
	},
	{
		Key: FirewallRulesCM, Kind: ObjectName, Support: Unsupported, Since: first, Protects: Access, asks: always,
		Doc: "Firewall rules from a ConfigMap.",
	},
	{
		Key: PrivateNetwork, Kind: Switch, Support: Unsupported, Since: first, Protects: Access, asks: unlessOff,
		Doc: "The deprecated name of `vpc`.",
	},
	{
		Key: VPC, Kind: Switch, Support: Unsupported, Since: first, Protects: Access, asks: unlessOff,
		Doc: "Reaches the nodes through their VPC.",
	},
	{Key: SSLLastUpdated, Kind: Text, Support: Obsolete, Since: first, Doc: "Was written by the official controller; it has no effect."},
}

var protocols = []string{"tcp", "udp", "http", "https"}
