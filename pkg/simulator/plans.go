package simulator

import "slices"

// plan is one size of virtual machine.
type plan struct {
	ID          string   `json:"id"`
	VCPUs       int      `json:"vcpu_count"`
	RAM         int      `json:"ram"`
	Disk        int      `json:"disk"`
	DiskCount   int      `json:"disk_count"`
	Bandwidth   int      `json:"bandwidth"`
	MonthlyCost float64  `json:"monthly_cost"`
	Type        string   `json:"type"`
	Locations   []string `json:"locations"`
}

// metalPlan is one size of bare metal server.
type metalPlan struct {
	ID          string   `json:"id"`
	CPUs        int      `json:"cpu_count"`
	CPUModel    string   `json:"cpu_model"`
	CPUThreads  int      `json:"cpu_threads"`
	RAM         int      `json:"ram"`
	Disk        int      `json:"disk"`
	DiskCount   int      `json:"disk_count"`
	Bandwidth   int      `json:"bandwidth"`
	MonthlyCost float64  `json:"monthly_cost"`
	Type        string   `json:"type"`
	Locations   []string `json:"locations"`
}

var allPlans = []plan{
	{ID: "vc2-1c-1gb", VCPUs: 1, RAM: 1024, Disk: 25, DiskCount: 1, Bandwidth: 1024, MonthlyCost: 5, Type: "vc2", Locations: regionIDs()},
	{ID: "vc2-1c-2gb", VCPUs: 1, RAM: 2048, Disk: 55, DiskCount: 1, Bandwidth: 2048, MonthlyCost: 10, Type: "vc2", Locations: regionIDs()},
	{ID: "vc2-2c-4gb", VCPUs: 2, RAM: 4096, Disk: 80, DiskCount: 1, Bandwidth: 3072, MonthlyCost: 20, Type: "vc2", Locations: regionIDs()},
	{ID: "vc2-4c-8gb", VCPUs: 4, RAM: 8192, Disk: 160, DiskCount: 1, Bandwidth: 4096, MonthlyCost: 40, Type: "vc2", Locations: regionIDs()},
	{ID: "vhf-2c-4gb", VCPUs: 2, RAM: 4096, Disk: 128, DiskCount: 1, Bandwidth: 3072, MonthlyCost: 24, Type: "vhf", Locations: regionIDs()},
	{ID: "vhp-2c-4gb-amd", VCPUs: 2, RAM: 4096, Disk: 100, DiskCount: 1, Bandwidth: 5120, MonthlyCost: 24, Type: "vhp", Locations: regionIDs()},
}

var allMetalPlans = []metalPlan{
	{ID: "vbm-4c-32gb", CPUs: 4, CPUModel: "E3-1270v6", CPUThreads: 8, RAM: 32768, Disk: 240, DiskCount: 2, Bandwidth: 5120, MonthlyCost: 120, Type: "SSD", Locations: regionIDs()},
}

func regionIDs() []string {
	out := make([]string, 0, len(regionRows))
	for _, r := range regionRows {
		out = append(out, r[0])
	}
	return out
}

func (p plan) soldIn(region string) bool { return slices.Contains(p.Locations, region) }

func findPlan(id string) (plan, bool) {
	i := slices.IndexFunc(allPlans, func(p plan) bool { return p.ID == id })
	if i < 0 {
		return plan{}, false
	}
	return allPlans[i], true
}

func (s *Simulator) listPlans(c *call) (int, any, error) {
	rows := allPlans
	if kind := c.req.URL.Query().Get("type"); kind != "" && kind != "all" {
		rows = slices.DeleteFunc(slices.Clone(allPlans), func(p plan) bool { return p.Type != kind })
	}
	return fixedList(c, "plans", rows)
}

func (s *Simulator) listMetalPlans(c *call) (int, any, error) {
	return fixedList(c, "plans_metal", allMetalPlans)
}
