package simulator

import (
	"slices"
)

// operatingSystem is one image, or the place of one that comes from elsewhere.
type operatingSystem struct {
	ID     int    `json:"id"`
	Name   string `json:"name"`
	Arch   string `json:"arch"`
	Family string `json:"family"`
}

// The images that stand for another kind of source.
const (
	osISO         = 159
	osSnapshot    = 164
	osBackup      = 180
	osApplication = 186

	// defaultSystem is what servers have that were not made by a request.
	defaultSystem = 2136
)

// allSystems is a part of the platform's catalogue.
var allSystems = []operatingSystem{
	{osISO, "Custom", "x64", "iso"},
	{osSnapshot, "Snapshot", "x64", "snapshot"},
	{osBackup, "Backup", "x64", "backup"},
	{osApplication, "Application", "x64", "application"},
	{387, "Ubuntu 20.04 LTS x64", "x64", "ubuntu"},
	{477, "Debian 11 x64 (bullseye)", "x64", "debian"},
	{1743, "Ubuntu 22.04 LTS x64", "x64", "ubuntu"},
	{2136, "Debian 12 x64 (bookworm)", "x64", "debian"},
	{2284, "Ubuntu 24.04 LTS x64", "x64", "ubuntu"},
	{2625, "Debian 13 x64 (trixie)", "x64", "debian"},
	{2760, "Ubuntu 26.04 LTS x64", "x64", "ubuntu"},
}

// application is software that the platform installs with a server.
type application struct {
	ID         int    `json:"id"`
	Name       string `json:"name"`
	ShortName  string `json:"short_name"`
	DeployName string `json:"deploy_name"`
	Type       string `json:"type"` // one-click, marketplace
	Vendor     string `json:"vendor"`
	ImageID    string `json:"image_id"`
}

// allApplications is a sample of the platform's catalogue.
var allApplications = []application{
	{1, "LEMP", "lemp", "LEMP on Ubuntu 22.04 x64", "one-click", "vultr", ""},
	{37, "Docker", "docker", "Docker on Ubuntu 22.04 x64", "one-click", "vultr", ""},
	{1028, "OpenLiteSpeed WordPress", "openlitespeedwordpress", "OpenLiteSpeed WordPress on Ubuntu 22.04 x64", "marketplace", "LiteSpeed_Technologies", "openlitespeed-wordpress"},
}

var catalogueRoutes = []route{
	{method: "GET", path: "/v2/os", operation: "list_os", handle: (*Simulator).listSystems, open: true},
	{method: "GET", path: "/v2/applications", operation: "list_applications", handle: (*Simulator).listApplications, open: true},
}

func findSystem(id int) (operatingSystem, bool) {
	n := slices.IndexFunc(allSystems, func(o operatingSystem) bool { return o.ID == id })
	if n < 0 {
		return operatingSystem{}, false
	}
	return allSystems[n], true
}

func (s *Simulator) listSystems(c *call) (int, any, error) { return fixedList(c, "os", allSystems) }

func (s *Simulator) listApplications(c *call) (int, any, error) {
	rows := allApplications
	if kind := c.req.URL.Query().Get("type"); kind != "" && kind != "all" {
		rows = slices.DeleteFunc(slices.Clone(rows), func(a application) bool { return a.Type != kind })
	}
	return fixedList(c, "applications", rows)
}
