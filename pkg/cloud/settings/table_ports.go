package settings

// The annotations about what the ports speak.
const (
	Protocol        Key = Prefix + "protocol"
	HTTPSPorts      Key = Prefix + "https-ports"
	BackendProtocol Key = Prefix + "backend-protocol"
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
}

var protocols = []string{"tcp", "udp", "http", "https"}
