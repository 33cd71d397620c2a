package settings

// The annotations about which nodes the load balancer sends to, and how it reaches them.
const (
	VPC            Key = Prefix + "vpc"
	PrivateNetwork Key = Prefix + "private-network"
	NodeSelector   Key = Prefix + "node-selector"
	GlobalRegions  Key = Prefix + "global-regions"
)

// networkSettings are about which nodes the load balancer sends to, and how it reaches them.
var networkSettings = []Setting{
	{
		Key: VPC, Kind: VPCReference, Format: "true, false, or UUID of a VPC", Default: "false", Since: first, Lenient: true, Protects: Access, asks: unlessOff,
		Doc: "The load balancer reaches the nodes through the VPC that they are in, or the one that is named. Its own address stays public.",
	},
	{
		Key: PrivateNetwork, Kind: VPCReference, Format: "true, false, or UUID of a VPC", Default: "false", Since: first, Lenient: true, Protects: Access, asks: unlessOff,
		NoClusterDefault: true,
		Doc:              "The deprecated name of `vpc`.",
	},
	{
		Key: NodeSelector, Kind: LabelSelector, Format: "label selector: `pool=web,!spot`", DefaultText: "all nodes", Since: first,
		Doc: "Only nodes with these labels are backends.",
	},
	{
		Key: GlobalRegions, Kind: RegionList, Format: "regions: `ams,fra`, or `ams=UUID` of a VPC there", Since: first, NoClusterDefault: true,
		Doc: "The load balancer has a part in each of these regions, too, which is paid for.",
	},
}
