package settings

// The annotations about what the ports speak.
const (
	Protocol        Key = Prefix + "protocol"
	HTTPSPorts      Key = Prefix + "https-ports"
	BackendProtocol Key = Prefix + "backend-protocol"
	PortProtocols   Key = Prefix + "port-protocols"
	AppProtocol     Key = Prefix + "app-protocol"
)

// portSettings say what the ports speak.
var portSettings = []Setting{
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
		Key: PortProtocols, Kind: PortMap, Format: "`443=https/http,8443=tcp`", Since: first, Protects: Encryption, asks: ifTLS, NoClusterDefault: true,
		Doc: "What clients speak to single ports, and after a slash what the pods speak. It counts more than all other annotations.",
	},
	{
		Key: AppProtocol, Kind: Switch, Default: "false", Since: first, Protects: Encryption, asks: unlessOff,
		Doc: "What clients speak to a port is its `appProtocol`, where that is http, https, tcp or one of Kubernetes' own.",
	},
}

var protocols = []string{"tcp", "udp", "http", "https"}
