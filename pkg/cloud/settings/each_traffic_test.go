package settings_test

import "github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"

var eachTraffic = map[settings.Key][]values{
	settings.ProxyProtocol: {{"TRUE", "true", "", "", ""}, {"disabled", "false", "", `write "false"`, ""}, {"v2", "false", "", "is read as false", ""}},
	settings.Algorithm: {
		{"", "roundrobin", "", "", ""},
		{"leastconn", "least_connections", "", "", ""},
		{"LEAST_CONNECTIONS", "least_connections", "", "", ""},
		{"round_robin", "roundrobin", "", `write "roundrobin"`, ""},
		{"least-connections", "roundrobin", "", `write "least_connections"`, ""},
		{"random", "roundrobin", "", "is read as roundrobin", ""},
	},
	settings.StickySessionEnabled: {
		{"", "off", "", "", ""}, {"on", "on", "", "", ""}, {"true", "off", "", `write "on"`, ""}, {"false", "off", "", `write "off"`, ""}, {"cookie", "off", "", "is read as off", ""},
	},
	settings.StickySessionCookieName: {{"", "", "", "", ""}, {"route", "route", "", "", ""}, {"a b", "", "is not a name that a cookie can have", "", ""}},
	settings.Timeout: {
		{"", "600", "", "", ""}, {"1", "1", "", "", ""}, {"86400", "86400", "", "", ""}, {"86401", "600", "from 1 to 86400", "", ""}, {"0", "600", "", "is read as the default, 600", ""}, {"30s", "600", "from 1 to 86400", "", ""},
	},
	settings.NodeCount: {
		{"", "1", "", "", ""}, {"99", "99", "", "", ""}, {"101", "1", "from 1 to 99", "", ""}, {"2", "1", "must be an odd number", "", ""}, {"0", "1", "from 1 to 99", "", ""}, {"-1", "1", "from 1 to 99", "", ""},
	},
	settings.IPMode: {{"", "", "", "", ""}, {"VIP", "vip", "", "", ""}, {"Proxy", "proxy", "", "", ""}, {"nat", "", "must be one of vip, proxy", "", ""}},
}
