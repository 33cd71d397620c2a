package monitoring

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/rulefmt"
	"go.yaml.in/yaml/v3"
)

const examples = root + "/deploy/components/monitoring"

// alerts are the rules for alerts, as Prometheus reads them: what is below spec is a file of rules as it is.
func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(examples, "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Kind string    `yaml:"kind"`
		Spec yaml.Node `yaml:"spec"`
	}
	if err := yaml.Unmarshal(content, &object); err != nil {
		t.Fatal(err)
	}
	if object.Kind != "PrometheusRule" {
		t.Fatalf("it is a %s", object.Kind)
	}
	rules, err := yaml.Marshal(&object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	groups, faults := rulefmt.Parse(rules, false, model.UTF8Validation, language, promslog.NewNopLogger())
	for _, fault := range faults {
		t.Error(fault)
	}
	if groups == nil {
		t.FailNow()
	}
	var all []rulefmt.Rule
	for _, group := range groups.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("only %d alerts were found", len(all))
	}
	return all
}

// panel is one of the dashboard's.
type panel struct {
	ID      int    `json:"id"`
	Type    string `json:"type"`
	Title   string `json:"title"`
	GridPos struct {
		X, Y, W, H int
	} `json:"gridPos"`
	Targets []struct {
		RefID  string `json:"refId"`
		Expr   string `json:"expr"`
		Legend string `json:"legendFormat"`
	} `json:"targets"`
}

func panels(t *testing.T) []panel {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(examples, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) < 10 {
		t.Fatalf("only %d panels were found", len(dashboard.Panels))
	}
	return dashboard.Panels
}

var (
	// ofGrafana puts values in the place of what Grafana fills in.
	ofGrafana = strings.NewReplacer("$__rate_interval", "5m", "$namespace", ".*")
	// inTemplate and inLegend are the labels in the texts of alerts, and in those of the dashboard.
	inTemplate = regexp.MustCompile(`\$labels\.(\w+)`)
	inLegend   = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)
)

// TestMonitoringNamesMetricsThatExist: whatever an alert or a panel names is a metric that the programs have, with these labels.
func TestMonitoringNamesMetricsThatExist(t *testing.T) {
	known := metricsOfTheCode(t)
	for _, a := range alerts(t) {
		for _, fault := range faultsOf(a.Expr, known) {
			t.Errorf("alert %s: %s", a.Alert, fault)
		}
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			expr := ofGrafana.Replace(target.Expr)
			faults := faultsOf(expr, known)
			for _, fault := range faults {
				t.Errorf("panel %s: %s", p.Title, fault)
			}
			if len(faults) > 0 {
				continue
			}
			left := labelsOf(parsed(t, expr), known)
			for _, label := range inLegend.FindAllStringSubmatch(target.Legend, -1) {
				if !slices.Contains(left, label[1]) {
					t.Errorf("panel %s: %s has no label %s left", p.Title, target.Expr, label[1])
				}
			}
		}
	}
}

// TestEveryMetricIsDocumented: the pages name every metric of the cloud controller manager and of the API, and none that is
// gone; those of the CSI driver that they name exist.
func TestEveryMetricIsDocumented(t *testing.T) {
	known := metricsOfTheCode(t)
	named := map[string]bool{}
	for _, page := range []string{"operation", "install", "troubleshooting", "load-balancers", "block-volumes", "snapshots", "node-plugin", "encryption", "scale"} {
		content, err := os.ReadFile(filepath.Join(root, "docs", page+".md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile("`((?:vultr_ccm|vultr_api|csi)_[a-z0-9_]+)").FindAllStringSubmatch(string(content), -1) {
			named[name[1]] = true
			if _, there := known[name[1]]; !there {
				t.Errorf("%s.md names %s, which does not exist", page, name[1])
			}
		}
	}
	for name := range known {
		if strings.HasPrefix(name, "vultr_") && !named[name] && !isPart(name) {
			t.Errorf("no page names %s", name)
		}
	}
}

// TestAlertsSayWhatToDo: each has words for people, and a place in the documentation.
func TestAlertsSayWhatToDo(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "operation.md"))
	if err != nil {
		t.Fatal(err)
	}
	known, seen := metricsOfTheCode(t), map[string]bool{}
	for _, a := range alerts(t) {
		if seen[a.Alert] {
			t.Errorf("%s is there twice", a.Alert)
		}
		seen[a.Alert] = true
		if !slices.Contains([]string{"info", "warning", "critical"}, a.Labels["severity"]) {
			t.Errorf("%s has the severity %q", a.Alert, a.Labels["severity"])
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s says nothing", a.Alert)
		}
		if _, anchor, _ := strings.Cut(a.Annotations["runbook_url"], "/docs/operation.md#"); !strings.EqualFold(anchor, a.Alert) || !strings.Contains(string(page), "\n### "+a.Alert+"\n") {
			t.Errorf("%s: nothing says what to do: %s", a.Alert, a.Annotations["runbook_url"])
		}
		left := labelsOf(parsed(t, a.Expr), known)
		for _, text := range []string{a.Annotations["summary"], a.Annotations["description"]} {
			for _, label := range inTemplate.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(left, label[1]) {
					t.Errorf("%s: its expression has no label %s left", a.Alert, label[1])
				}
			}
		}
	}
	for _, heading := range regexp.MustCompile(`\n### (Vultr\w+)\n`).FindAllStringSubmatch(string(page), -1) {
		if !seen[heading[1]] {
			t.Errorf("operation.md explains %s, which is no alert", heading[1])
		}
	}
}

// TestPanelsHaveTheirPlaces: no two lie on one another, and each shows something.
func TestPanelsHaveTheirPlaces(t *testing.T) {
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range panels(t) {
		if ids[p.ID] || p.Title == "" || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: %+v", p.ID, p.Title, p.GridPos)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := taken[at]; other != "" {
					t.Fatalf("panels %q and %q lie on one another", other, p.Title)
				}
				taken[at] = p.Title
			}
		}
	}
}
