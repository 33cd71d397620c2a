package settings_test

import "github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"

var eachTLS = map[settings.Key][]values{
	settings.SSL: {{"", "", "", "", ""}, {" tls \n", "tls", "", "", ""}, {"other/tls", "", "in the namespace of the Service", "", ""}},
	settings.SSLPassThrough: {
		{"", "false", "", "", ""}, {"1", "true", "", "", ""}, {"F", "false", "", "", ""}, {"yes", "false", "", `write "true"`, `"yes"`}, {"disabled", "false", "", `write "false"`, ""},
	},
	settings.SSLRedirect: {
		{"true", "true", "", "", ""}, {"permanent", "false", "", "is read as false", `"permanent"`}, {"no", "false", "", `write "false"`, ""},
	},
	settings.HTTP2:            {{"true", "true", "", "", ""}, {"on", "false", "", `write "true"`, ""}},
	settings.AutoSSL:          {{"", "", "", "", ""}, {"domain", "domain", "", "", ""}, {"other/domain", "", "must be the name of a Secret in the namespace of the Service", "", ""}},
	settings.AutoSSLDomain:    {{"", "", "", "", ""}, {"example.com", "example.com", "", "", ""}, {"Example.com", "", "must be a host name", "", ""}, {"*.example.com", "", "must be a host name", "", ""}},
	settings.AutoSSLSubdomain: {{"", "", "", "", ""}, {"www", "www", "", "", ""}, {"a_b", "", "must be a host name", "", ""}},
	settings.HTTP3:            {{"true", "true", "", "", ""}, {"enabled", "false", "", `write "true"`, ""}},
}
