package simulator

import (
	"math"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// plan is one size of virtual machine.
type plan struct {
	ID          string   `json:"id"`
	VCPUs       int      `json:"vcpu_count"`
	RAM         int      `json:"ram"`
	Disk        int      `json:"disk"`
	DiskCount   int      `json:"disk_count"`
	Bandwidth   int      `json:"bandwidth"`
	MonthlyCost float64  `json:"monthly_cost"`
	HourlyCost  float64  `json:"hourly_cost"`
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

// billedHours is how many hours of a month are charged.
const billedHours = 672

// planRows are a part of the platform's catalogue: memory and bandwidth in GB, disk in GB, dollars per month.
var planRows = []struct {
	id                             string
	cpus, ram, disk, traffic, cost int
}{
	{"vc2-1c-1gb", 1, 1, 25, 1024, 5},
	{"vc2-1c-2gb", 1, 2, 55, 2048, 10},
	{"vc2-2c-2gb", 2, 2, 65, 3072, 15},
	{"vc2-2c-4gb", 2, 4, 80, 3072, 20},
	{"vc2-4c-8gb", 4, 8, 160, 4096, 40},
	{"vc2-6c-16gb", 6, 16, 320, 5120, 80},
	{"vc2-8c-32gb", 8, 32, 640, 6144, 160},
	{"vc2-16c-64gb", 16, 64, 1280, 10240, 320},
	{"vhf-1c-1gb", 1, 1, 32, 1024, 6},
	{"vhf-1c-2gb", 1, 2, 64, 2048, 12},
	{"vhf-2c-4gb", 2, 4, 128, 3072, 24},
	{"vhf-3c-8gb", 3, 8, 256, 4096, 48},
	{"vhf-4c-16gb", 4, 16, 384, 5120, 96},
	{"vhf-8c-32gb", 8, 32, 512, 7168, 192},
	{"vhp-1c-1gb-amd", 1, 1, 25, 2048, 6},
	{"vhp-1c-2gb-amd", 1, 2, 50, 3072, 12},
	{"vhp-2c-4gb-amd", 2, 4, 100, 5120, 24},
	{"vhp-4c-8gb-amd", 4, 8, 180, 6144, 48},
	{"vhp-8c-16gb-amd", 8, 16, 350, 8192, 96},
	{"vhp-2c-4gb-intel", 2, 4, 100, 5120, 24},
	{"vhp-4c-8gb-intel", 4, 8, 180, 6144, 48},
	{"voc-g-2c-8gb-50s-amd", 2, 8, 50, 5120, 60},
	{"voc-g-4c-16gb-80s-amd", 4, 16, 80, 6144, 120},
}

var (
	allPlans  = buildPlans()
	planTypes = []string{"vc2", "vhf", "vhp", "voc"}
)

var allMetalPlans = []metalPlan{
	{ID: "vbm-4c-32gb", CPUs: 4, CPUModel: "E3-1270v6", CPUThreads: 8, RAM: 32768, Disk: 240, DiskCount: 2, Bandwidth: 5120, MonthlyCost: 120, Type: "SSD", Locations: regionIDs()},
	{ID: "vbm-8c-132gb", CPUs: 8, CPUModel: "E-2288G", CPUThreads: 16, RAM: 131072, Disk: 1920, DiskCount: 2, Bandwidth: 10240, MonthlyCost: 350, Type: "NVMe", Locations: regionIDs()},
}

func buildPlans() []plan {
	out := make([]plan, 0, len(planRows))
	for _, r := range planRows {
		cost := float64(r.cost)
		out = append(out, plan{
			ID: r.id, VCPUs: r.cpus, RAM: r.ram * 1024, Disk: r.disk, DiskCount: 1, Bandwidth: r.traffic, MonthlyCost: cost,
			HourlyCost: math.Round(cost/billedHours*1000) / 1000, Type: r.id[:3], Locations: regionIDs(),
		})
	}
	return out
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

func findMetalPlan(id string) (metalPlan, bool) {
	i := slices.IndexFunc(allMetalPlans, func(p metalPlan) bool { return p.ID == id })
	if i < 0 {
		return metalPlan{}, false
	}
	return allMetalPlans[i], true
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

// availablePlans are the plans of a type that a region has in stock: here, all that it sells.
func availablePlans(region, kind string) ([]string, *wire.Error) {
	if kind != "" && kind != "all" && !slices.Contains(planTypes, kind) {
		// The platform's text goes on with types; which ones is unknown.
		return nil, wire.BadRequest("Please provide a valid type: all, vc2, vhf, vhp, voc")
	}
	out := []string{}
	for _, p := range allPlans {
		if p.soldIn(region) && (kind == "" || kind == "all" || p.Type == kind) {
			out = append(out, p.ID)
		}
	}
	return out, nil
}
