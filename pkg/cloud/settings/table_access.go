package settings

// The annotations about who may connect.
const (
	FirewallRules   Key = Prefix + "firewall-rules"
	FirewallRulesCM Key = Prefix + "firewall-rules-cm"
)

// accessSettings say who may connect.
var accessSettings = []Setting{
	{
		Key: FirewallRules, Kind: SourceList, Format: "`source,port;...`, each source a range or `cloudflare`", DefaultText: "everybody",
		Since: first, Protects: Access, asks: unlessEmpty,
		Doc: "Who may connect, in addition to `loadBalancerSourceRanges`.",
	},
	{
		Key: FirewallRulesCM, Kind: ObjectName, Format: "name of a ConfigMap", Since: first, Protects: Access, asks: unlessEmpty, NoClusterDefault: true,
		Doc: "More of `firewall-rules`, from the key `firewallRules` of a ConfigMap in the namespace of the Service.",
	},
}
