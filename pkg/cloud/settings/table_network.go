package settings

// The annotations about the networks that the load balancer is in.
const (
	PrivateNetwork Key = Prefix + "private-network"
	VPC            Key = Prefix + "vpc"
)

// networkSettings are about the networks that the load balancer is in.
var networkSettings = []Setting{
	{
		Key: PrivateNetwork, Kind: Switch, Support: Unsupported, Since: first, Protects: Access, asks: unlessOff,
		Doc: "The deprecated name of `vpc`.",
	},
	{
		Key: VPC, Kind: Switch, Support: Unsupported, Since: first, Protects: Access, asks: unlessOff,
		Doc: "Reaches the nodes through their VPC.",
	},
}
