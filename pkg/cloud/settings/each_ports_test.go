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
	settings.PortProtocols: {
		{"", "", "", "", ""},
		{"443=https/http, 8443 = TCP ,", "443=https/http,8443=tcp", "", "", ""},
		{"80=http/http,81=HTTP/https", "80=http,81=http/https", "", "", ""},
		{"443", "", "must be a list of port=protocol", "", ""},
		{"443=udp", "", "must be a list of port=protocol", "", ""},
		{"443=tcp/http", "", "must be a list of port=protocol", "", ""},
		{"443=https/", "", "must be a list of port=protocol", "", ""},
		{"443=https / http", "", "must be a list of port=protocol", "", ""},
		{"0=tcp", "", "must be a list of port=protocol", "", ""},
		{"web=http", "", "must be a list of port=protocol", "", ""},
		{"443=https=http", "", "must be a list of port=protocol", "", ""},
	},
	settings.AppProtocol: {{"", "false", "", "", ""}, {"T", "true", "", "", ""}, {"yes", "false", "must be true or false", "", ""}},
}
