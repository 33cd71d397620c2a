package settings_test

import "github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"

var eachPort = map[settings.Key][]values{
	settings.Protocol: {
		{"", "tcp", "", "", ""}, {"udp", "udp", "", "", ""}, {"HTTPS", "https", "", "", ""}, {"sctp", "tcp", "must be one of", "", ""},
	},
	settings.BackendProtocol: {
		{"", "", "", "", ""},
		{"http", "http", "", "", ""},
		{"grpc", "", "", "has no effect", ""},
		{"TLS", "", "", "has no effect", "which is not one of"},
		{"htps", "", "", `write "https"`, "which is not one of"},
		{"htttp", "", "", `write "http"`, ""},
		{"httpss", "", "", `write "https"`, "which is not one of"},
	},
	settings.HTTPSPorts: {{"", "", "", "", ""}, {"443, 8443 ,", "443,8443", "", "", ""}, {"0", "", "list of port numbers", "", ""}, {"65536", "", "list of port numbers", "", ""}, {"1,65535", "1,65535", "", "", ""}},
}
