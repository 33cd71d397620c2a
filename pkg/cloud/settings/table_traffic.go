package settings

// The annotations about how connections are forwarded.
const (
	ProxyProtocol           Key = Prefix + "proxy-protocol"
	Algorithm               Key = Prefix + "algorithm"
	StickySessionEnabled    Key = Prefix + "sticky-session-enabled"
	StickySessionCookieName Key = Prefix + "sticky-session-cookie-name"
	Timeout                 Key = Prefix + "timeout"
	NodeCount               Key = Prefix + "node-count"
	IPMode                  Key = Prefix + "ip-mode"
)

// The platform's limits, from its documentation.
const (
	maxNodes = 99
	// maxTimeout is a day in seconds. The platform documents no limit; more is a mistake.
	maxTimeout = 24 * 60 * 60
)

// trafficSettings are about how connections are forwarded.
var trafficSettings = []Setting{
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
		Key: IPMode, Kind: Choice, Values: []string{"vip", "proxy"}, Since: first,
		DefaultText: "vip, or proxy where a port is http or https or `proxy-protocol` is on",
		Doc:         "What nodes do with connections to the address: with vip they go straight to the pods, with proxy through the load balancer.",
	},
}
