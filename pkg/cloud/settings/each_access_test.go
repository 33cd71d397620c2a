package settings_test

import "github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"

var eachAccess = map[settings.Key][]values{
	settings.FirewallRules: {
		{"", "", "", "", ""},
		{" Cloudflare , 443 ; 10.1.2.3/8,80;", "cloudflare,443;10.0.0.0/8,80", "", "", ""},
		{"2001:DB8::1/32,1", "2001:db8::/32,1", "", "", ""},
		{"10.0.0.1,80", "", `"10.0.0.1,80" is not`, "", ""},
		{"10.0.0.0/8,0", "", "is not", "", ""},
		{"10.0.0.0/33,80", "", "is not", "", ""},
		{"everybody,80", "", "is not", "", ""},
		{"::ffff:10.0.0.0/104,80", "", "is not", "", ""},
		{"10.0.0.0/8,80,81", "", "is not", "", ""},
	},
	settings.FirewallRulesCM: {{"", "", "", "", ""}, {" office ", "office", "", "", ""}, {"other/office", "", "must be the name of a ConfigMap in the namespace of the Service", "", ""}},
}
