package settings_test

import "github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"

var eachLife = map[settings.Key][]values{
	settings.Hostname: {{"", "", "", "", ""}, {"web.example.com", "web.example.com", "", "", ""}, {"Web.example.com", "", "must be a host name", "", ""}},
	settings.Create: {
		{"", "true", "", "", ""}, {"False", "false", "", "", ""}, {"no", "true", "", `write "false"`, `"no"`}, {"0", "true", "", `write "false"`, `"0"`}, {"yes", "true", "", `write "true"`, ""}, {"nonsense", "true", "", "is read as true", ""},
	},
	settings.Label:              {{"shop", "shop", "", "", ""}, {" ", "", "must not be empty", "", ""}},
	settings.ID:                 {{"", "", "", "", ""}, {"aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60\n", "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60", "", "", ""}, {"web", "", "must be the UUID", "", ""}},
	settings.Retain:             {{"", "false", "", "", ""}, {"1", "true", "", "", ""}, {"yes", "false", "must be true or false", "", ""}},
	settings.Disown:             {{"", "false", "", "", ""}, {"true", "true", "", "", ""}, {"yes", "false", "must be true or false", "", ""}},
	settings.DeletionProtection: {{"", "false", "", "", ""}, {"T", "true", "", "", ""}, {"on", "false", "must be true or false", "", ""}},
}
