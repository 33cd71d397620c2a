package settings_test

import "github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"

var eachHealth = map[settings.Key][]values{
	settings.HealthCheckProtocol: {{"", "", "", "", ""}, {"HTTP", "http", "", "", ""}, {"udp", "", "must be one of tcp, http, https", "", ""}},
	settings.HealthCheckPort:     {{"", "", "", "", ""}, {"web", "web", "", "", ""}},
	settings.HealthCheckPath:     {{"", "", "", "", ""}, {"/ok?full", "/ok?full", "", "", ""}, {"ok", "", "must begin with /", "", ""}},
	settings.HealthCheckInterval: {{"", "15", "", "", ""}, {"300", "300", "", "", ""}, {"301", "15", "from 1 to 300", "", ""}, {"0", "15", "", "the default, 15", ""}},
	settings.HealthCheckTimeout:  {{"", "5", "", "", ""}, {"300", "300", "", "", ""}, {"301", "5", "from 1 to 300", "", ""}, {"0", "5", "", "the default, 5", ""}},
	settings.HealthCheckUnhealthy: {
		{"", "5", "", "", ""}, {"300", "300", "", "", ""}, {"301", "5", "from 1 to 300", "", ""}, {"0", "5", "", "the default, 5", ""},
	},
	settings.HealthCheckHealthy:   {{"", "5", "", "", ""}, {"300", "300", "", "", ""}, {"301", "5", "from 1 to 300", "", ""}, {"0", "5", "", "the default, 5", ""}},
	settings.HealthCheckKubeProxy: {{"", "false", "", "", ""}, {"true", "true", "", "", ""}, {"on", "false", "must be true or false", "", ""}},
}
