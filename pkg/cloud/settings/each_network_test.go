package settings_test

import "github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"

var eachVPC = []values{
	{"", "false", "", "", ""},
	{" TRUE ", "true", "", "", ""},
	{"F", "false", "", "", ""},
	{"AAAAAAAA-66fd-4dfb-b839-443f2e6c0b60\n", "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60", "", "", ""},
	{"yes", "false", "", `write "true"`, `"yes"`},
	{"off", "false", "", `write "false"`, ""},
	{"10.1.0.0/20", "false", "", "is not one of true, false, the UUID of a VPC", `"10.1.0.0/20"`},
	{"aaaaaaaa-66fd-4dfb-b839", "false", "", "is read as false", `"aaaaaaaa-66fd-4dfb-b839"`},
}

var eachNetwork = map[settings.Key][]values{
	settings.VPC:            eachVPC,
	settings.PrivateNetwork: eachVPC,
	settings.NodeSelector: {
		{"", "", "", "", ""},
		{" pool = web ", "pool=web", "", "", ""},
		{"zone in (b,a), !spot,pool!=db", "pool!=db,!spot,zone in (a,b)", "", "", ""},
		{"pool", "pool", "", "", ""},
		{"pool=a b", "", "must be a label selector such as pool=web,!spot", "", ""},
		{"pool in", "", "must be a label selector", "", ""},
		{"-pool=web", "", "must be a label selector", "", ""},
	},
	settings.GlobalRegions: {
		{"", "", "", "", ""},
		{" AMS , fra,", "ams,fra", "", "", ""},
		{"ams=AAAAAAAA-66fd-4dfb-b839-443f2e6c0b60,fra", "ams=aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60,fra", "", "", ""},
		{"ams,ams", "", "must be a list of regions separated by commas, each of them once", "", ""},
		{"amsterdam", "", "must be a list of regions", "", ""},
		{"ams=vpc", "", "a VPC of the region follows it by its UUID", "", ""},
		{"ams=", "", "a VPC of the region follows it", "", ""},
		{"ams fra", "", "must be a list of regions", "", ""},
	},
}
