package monitoring

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// queriesOf returns the queries that a page shows.
func queriesOf(t *testing.T, page string) []string {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, match := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(string(content), -1) {
		all = append(all, match[1])
	}
	return all
}

// TestQueriesOfThePages: what people copy from there is of metrics that exist, with labels that these have.
func TestQueriesOfThePages(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	known, found := metricsOfTheCode(t), 0
	for _, page := range pages {
		for _, query := range queriesOf(t, page) {
			found++
			for _, fault := range faultsOf(query, known) {
				t.Errorf("%s: %s", filepath.Base(page), fault)
			}
		}
	}
	if found < 4 {
		t.Errorf("only %d queries were found", found)
	}
}

// TestQueriesOfCost: they add up each volume and each load balancer once, also while two controllers show them, and everybody's.
func TestQueriesOfCost(t *testing.T) {
	series := []string{
		`csi_volumes_monthly_cost_dollars{pod="one",namespace="shop",persistentvolumeclaim="a",storage_type="block"} 1x5`,
		`csi_volumes_monthly_cost_dollars{pod="two",namespace="shop",persistentvolumeclaim="a",storage_type="block"} 1x5`,
		`csi_volumes_monthly_cost_dollars{pod="one",namespace="shop",persistentvolumeclaim="a",storage_type="vfs"} 1x5`,
		`csi_volumes_monthly_cost_dollars{pod="one",namespace="shop",persistentvolumeclaim="b",storage_type="block"} 1x5`,
		`csi_volumes_monthly_cost_dollars{pod="one",namespace="bank",persistentvolumeclaim="a",storage_type="block"} 4x5`,
		`csi_volumes_monthly_cost_dollars{pod="one",storage_type="block"} 8x5`, // of a PersistentVolume without a claim
		`vultr_ccm_load_balancer_nodes{pod="one",namespace="shop",service="web"} 3x5`,
		`vultr_ccm_load_balancer_nodes{pod="two",namespace="shop",service="web"} 3x5`,
		`vultr_ccm_load_balancer_nodes{pod="one",namespace="mail",service="in"} 1x5`,
		`vultr_ccm_load_balancer_nodes{pod="one",namespace="mail",service="out"} 1x5`,
	}
	known := metricsOfTheCode(t)
	for _, text := range series {
		for _, fault := range faultsOf(strings.Fields(text)[0], known) {
			t.Error(fault)
		}
	}
	want := []map[string]float64{
		{`{}`: 8, `{namespace="bank"}`: 4, `{namespace="shop"}`: 3},
		{`{persistentvolumeclaim="a"}`: 2, `{persistentvolumeclaim="b"}`: 1},
		{`{namespace="mail"}`: 20, `{namespace="shop"}`: 30},
		{`{}`: 8, `{namespace="bank"}`: 4, `{namespace="mail"}`: 20, `{namespace="shop"}`: 33},
	}
	queries := queriesOf(t, filepath.Join(root, "docs", "operation.md"))
	if len(queries) != len(want) {
		t.Fatalf("operation.md has %d queries, want %d", len(queries), len(want))
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: time.Minute, Parser: language})
	for i, query := range queries {
		run, err := engine.NewInstantQuery(t.Context(), scrape(t, series), nil, query, time.UnixMilli(step.Milliseconds()))
		if err != nil {
			t.Fatal(err)
		}
		found, err := run.Exec(t.Context()).Vector()
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		got := map[string]float64{}
		for _, sample := range found {
			got[sample.Metric.String()] = sample.F
		}
		run.Close()
		if !maps.Equal(got, want[i]) {
			t.Errorf("%s: got %v, want %v", query, got, want[i])
		}
	}
}
