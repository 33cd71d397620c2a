package settings

// The annotations about the health check.
const (
	HealthCheckProtocol  Key = Prefix + "healthcheck-protocol"
	HealthCheckPort      Key = Prefix + "healthcheck-port"
	HealthCheckPath      Key = Prefix + "healthcheck-path"
	HealthCheckKubeProxy Key = Prefix + "healthcheck-kube-proxy"
	HealthCheckInterval  Key = Prefix + "healthcheck-check-interval"
	HealthCheckTimeout   Key = Prefix + "healthcheck-response-timeout"
	HealthCheckUnhealthy Key = Prefix + "healthcheck-unhealthy-threshold"
	HealthCheckHealthy   Key = Prefix + "healthcheck-healthy-threshold"
)

// maxHealthCheck is the platform's limit, from its documentation.
const maxHealthCheck = 300

// healthSettings are about the one health check that a load balancer has.
var healthSettings = []Setting{
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
		Key: HealthCheckKubeProxy, Kind: Switch, Default: "false", Since: first,
		Doc: "The check asks kube-proxy on the nodes, in place of the three above, so that a node which is drained gets no new connections.",
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
}
