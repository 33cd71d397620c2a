package monitoring

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// step is the time between two samples, and between two evaluations.
const step = time.Minute

// scenario is what Prometheus has scraped, and which alert is to fire then.
type scenario struct {
	alert string
	is    string
	// series are as in Prometheus' own tests of rules, from the beginning of time on.
	series []string
	at     time.Duration
	// fires has the labels of the alert that fires, without those of the rule; "" is that none does.
	fires string
}

const (
	program = `{namespace="kube-system", pod="a"}`
	service = `{namespace="shop", service="web"}`
	none    = `{}`
)

var scenarios = []scenario{
	{"VultrAPIKeyRefused", "refused", []string{`vultr_api_key_accepted{namespace="kube-system",pod="a"} 0x20`}, 10 * time.Minute, program},
	{"VultrAPIKeyRefused", "refused a moment ago", []string{`vultr_api_key_accepted{namespace="kube-system",pod="a"} 1x6 0x4`}, 10 * time.Minute, ""},
	{"VultrAPIKeyRefused", "accepted by one program, refused to another", []string{
		`vultr_api_key_accepted{namespace="kube-system",pod="a"} 0x20`, `vultr_api_key_accepted{namespace="kube-system",pod="b"} 1x20`,
	}, 10 * time.Minute, program},
	{"VultrAPIKeyRefused", "accepted", []string{`vultr_api_key_accepted{namespace="kube-system",pod="a"} 1x20`}, 10 * time.Minute, ""},

	{"VultrAPISilent", "silent since the beginning", []string{`vultr_api_last_answer_timestamp_seconds{namespace="kube-system",pod="a"} 0x60`}, 30 * time.Minute, program},
	{"VultrAPISilent", "silent for 14 minutes", []string{`vultr_api_last_answer_timestamp_seconds{namespace="kube-system",pod="a"} 0x14`}, 14 * time.Minute, ""},
	{"VultrAPISilent", "it answers", []string{`vultr_api_last_answer_timestamp_seconds{namespace="kube-system",pod="a"} 0+60x60`}, 30 * time.Minute, ""},

	{"VultrAPIThrottled", "a fifth of a call each second", []string{`vultr_api_requests_total{namespace="kube-system",pod="a",code="429"} 0+12x60`}, 40 * time.Minute, program},
	{"VultrAPIThrottled", "now and then, among many that are not", []string{
		`vultr_api_requests_total{namespace="kube-system",pod="a",code="429"} 0+3x60`, `vultr_api_requests_total{namespace="kube-system",pod="a",code="200"} 0+600x60`,
	}, 40 * time.Minute, ""},

	{"VultrAPICallsWait", "a long queue", []string{
		`vultr_api_limiter_budget{namespace="kube-system",pod="a"} 0.1x30`,
		`vultr_api_limiter_queue_length{namespace="kube-system",pod="a",priority="write"} 4x30`,
		`vultr_api_limiter_queue_length{namespace="kube-system",pod="a",priority="read"} 4x30`,
	}, 20 * time.Minute, program},
	{"VultrAPICallsWait", "a short queue", []string{
		`vultr_api_limiter_budget{namespace="kube-system",pod="a"} 0.1x30`, `vultr_api_limiter_queue_length{namespace="kube-system",pod="a",priority="write"} 4x30`,
	}, 20 * time.Minute, ""},
	{"VultrAPICallsWait", "a queue of another program", []string{
		`vultr_api_limiter_budget{namespace="kube-system",pod="a"} 0.1x30`, `vultr_api_limiter_queue_length{namespace="kube-system",pod="b",priority="write"} 9x30`,
	}, 20 * time.Minute, ""},

	{"VultrCCMHasNoLeader", "nothing runs", nil, 10 * time.Minute, none},
	{"VultrCCMHasNoLeader", "two stand by", []string{
		`leader_election_master_status{name="cloud-controller-manager",pod="a"} 0x20`, `leader_election_master_status{name="cloud-controller-manager",pod="b"} 0x20`,
	}, 10 * time.Minute, none},
	{"VultrCCMHasNoLeader", "only another program leads", []string{`leader_election_master_status{name="kube-scheduler",pod="a"} 1x20`}, 10 * time.Minute, none},
	{"VultrCCMHasNoLeader", "one leads", []string{
		`leader_election_master_status{name="cloud-controller-manager",pod="a"} 1x20`, `leader_election_master_status{name="cloud-controller-manager",pod="b"} 0x20`,
	}, 10 * time.Minute, ""},

	{"VultrLoadBalancerFailing", "failing", []string{`vultr_ccm_load_balancer_state{namespace="shop",service="web",state="failing"} 1x30`}, 20 * time.Minute, service},
	{"VultrLoadBalancerFailing", "ready", []string{
		`vultr_ccm_load_balancer_state{namespace="shop",service="web",state="failing"} 0x30`, `vultr_ccm_load_balancer_state{namespace="shop",service="web",state="ready"} 1x30`,
	}, 20 * time.Minute, ""},
	{"VultrLoadBalancerFailing", "each time for a moment", []string{`vultr_ccm_load_balancer_state{namespace="shop",service="web",state="failing"} 1x5 0 1x5 0 1x5 0 1x5`}, 20 * time.Minute, ""},

	{"VultrLoadBalancerPending", "pending", []string{`vultr_ccm_load_balancer_state{namespace="shop",service="web",state="pending"} 1x60`}, 40 * time.Minute, service},
	{"VultrLoadBalancerPending", "for twenty minutes", []string{`vultr_ccm_load_balancer_state{namespace="shop",service="web",state="pending"} 1x60`}, 20 * time.Minute, ""},

	{"VultrLoadBalancerDeleting", "deleting", []string{`vultr_ccm_load_balancer_state{namespace="shop",service="web",state="deleting"} 1x90`}, 70 * time.Minute, service},
	{"VultrLoadBalancerDeleting", "for half an hour", []string{`vultr_ccm_load_balancer_state{namespace="shop",service="web",state="deleting"} 1x90`}, 30 * time.Minute, ""},

	{"VultrLoadBalancerRulesFull", "14", []string{`vultr_ccm_load_balancer_rules{namespace="shop",service="web"} 14x5`}, 0, service},
	{"VultrLoadBalancerRulesFull", "13", []string{`vultr_ccm_load_balancer_rules{namespace="shop",service="web"} 13x5`}, 0, ""},

	{"VultrLoadBalancerDrifts", "four times", []string{`vultr_ccm_load_balancer_drift_total{namespace="shop",service="web"} 0x10 1x10 2x10 3x10 4x400`}, 6 * time.Hour, service},
	{"VultrLoadBalancerDrifts", "twice", []string{`vultr_ccm_load_balancer_drift_total{namespace="shop",service="web"} 0x100 1x100 2x400`}, 6 * time.Hour, ""},
	{"VultrLoadBalancerDrifts", "long ago", []string{`vultr_ccm_load_balancer_drift_total{namespace="shop",service="web"} 0x10 9x600`}, 8 * time.Hour, ""},

	{"VultrCertificateExpires", "in 11 days", []string{`vultr_ccm_certificate_expiry_timestamp_seconds{namespace="shop",service="web"} 1000000x90`}, 70 * time.Minute, service},
	{"VultrCertificateExpires", "in 23 days", []string{`vultr_ccm_certificate_expiry_timestamp_seconds{namespace="shop",service="web"} 2000000x90`}, 70 * time.Minute, ""},

	{
		"VultrLoadBalancerOrphaned", "one",
		[]string{`vultr_ccm_orphaned_load_balancer{load_balancer="lb-1",namespace="shop",service="web"} 1x90`},
		70 * time.Minute,
		`{load_balancer="lb-1", namespace="shop", service="web"}`,
	},
	{"VultrLoadBalancerOrphaned", "none", nil, 70 * time.Minute, ""},

	{"VultrLoadBalancersNotShown", "two", []string{`vultr_ccm_load_balancers_not_shown{pod="a"} 2x30`, `vultr_ccm_load_balancers_not_shown{pod="b"} 0x30`}, 20 * time.Minute, none},
	{"VultrLoadBalancersNotShown", "none", []string{`vultr_ccm_load_balancers_not_shown{pod="a"} 0x30`}, 20 * time.Minute, ""},

	{"VultrLoadBalancersDoubted", "two", []string{`vultr_ccm_doubted_load_balancers{pod="a"} 2x30`}, 20 * time.Minute, none},
	{"VultrLoadBalancersDoubted", "none", []string{`vultr_ccm_doubted_load_balancers{pod="a"} 0x30`}, 20 * time.Minute, ""},

	{
		"VultrVolumeOperationHangs", "a stage",
		[]string{`csi_pending_operations_oldest_age_seconds{namespace="kube-system",pod="a",method="NodeStageVolume"} 0+60x60`},
		20 * time.Minute,
		`{method="NodeStageVolume", namespace="kube-system", pod="a"}`,
	},
	{"VultrVolumeOperationHangs", "operations that follow each other", []string{
		`csi_pending_operations_oldest_age_seconds{namespace="kube-system",pod="a",method="NodeStageVolume"} 0+60x8 0+60x8 0+60x8`,
	}, 20 * time.Minute, ""},
	{"VultrVolumeOperationHangs", "a create", []string{`csi_pending_operations_oldest_age_seconds{namespace="kube-system",pod="a",method="CreateVolume"} 0+60x60`}, 20 * time.Minute, ""},

	{
		"VultrVolumeUnwell", "one",
		[]string{`csi_volume_conditions{pod="a",storage_type="block",reason="FileSystemFailed"} 1x10`},
		5 * time.Minute,
		`{pod="a", reason="FileSystemFailed", storage_type="block"}`,
	},
	{"VultrVolumeUnwell", "no more", []string{`csi_volume_conditions{pod="a",storage_type="block",reason="FileSystemFailed"} 1x3 0x7`}, 5 * time.Minute, ""},

	{"VultrFileSystemNotRepaired", "the first one", []string{`csi_fsck_total{pod="a",tool="e2fsck",outcome="faulty"} 0x5 1x30`}, 10 * time.Minute, `{pod="a"}`},
	{"VultrFileSystemNotRepaired", "two hours ago", []string{`csi_fsck_total{pod="a",tool="e2fsck",outcome="faulty"} 0x5 1x200`}, 2 * time.Hour, ""},
	{"VultrFileSystemNotRepaired", "repaired", []string{
		`csi_fsck_total{pod="a",tool="e2fsck",outcome="faulty"} 0x30`, `csi_fsck_total{pod="a",tool="e2fsck",outcome="repaired"} 0+1x30`,
	}, 10 * time.Minute, ""},

	{"VultrWritesLost", "the first ones", []string{`csi_lost_writes_total{pod="a"} 0x5 1x30`}, 10 * time.Minute, `{pod="a"}`},
	{"VultrWritesLost", "none", []string{`csi_lost_writes_total{pod="a"} 0x30`}, 10 * time.Minute, ""},
	{"VultrWritesLost", "two hours ago", []string{`csi_lost_writes_total{pod="a"} 0x5 1x200`}, 2 * time.Hour, ""},

	{"VultrVolumesOrphaned", "one", []string{`csi_orphaned_volumes{pod="a",storage_type="block"} 1x90`}, 70 * time.Minute, `{storage_type="block"}`},
	{"VultrVolumesOrphaned", "none", []string{`csi_orphaned_volumes{pod="a",storage_type="block"} 0x90`}, 70 * time.Minute, ""},
}

// TestAlertsFire: each alert fires when what it is about is so for as long as it says, with the labels that its texts use, and
// is quiet when it is not.
func TestAlertsFire(t *testing.T) {
	rules := map[string]rulefmt.Rule{}
	for _, rule := range alerts(t) {
		rules[rule.Alert] = rule
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: time.Minute, Parser: language})
	seen := map[string]map[bool]bool{}
	for _, s := range scenarios {
		t.Run(s.alert+": "+s.is, func(t *testing.T) {
			rule, there := rules[s.alert]
			if !there {
				t.Fatal("there is no such alert")
			}
			var want []string
			if s.fires != "" {
				want = []string{s.fires}
			}
			scraped := scrape(t, s.series)
			if got := firing(t, engine, scraped, rule, s.at); !slices.Equal(got, want) {
				t.Errorf("it fires for %s, want %s", got, want)
			}
			if early := time.Duration(rule.For) - step; early >= 0 {
				if got := firing(t, engine, scraped, rule, early); len(got) > 0 {
					t.Errorf("after %s it fires already for %s", early, got)
				}
			}
		})
		if seen[s.alert] == nil {
			seen[s.alert] = map[bool]bool{}
		}
		seen[s.alert][s.fires != ""] = true
	}
	for name := range rules {
		if !seen[name][true] || !seen[name][false] {
			t.Errorf("%s is not seen to fire and to be quiet", name)
		}
	}
}

// TestScenariosAreOfMetricsThatExist: an alert proves nothing that fires for what no program has.
func TestScenariosAreOfMetricsThatExist(t *testing.T) {
	known := metricsOfTheCode(t)
	for _, s := range scenarios {
		for _, text := range s.series {
			for _, fault := range faultsOf(strings.Fields(text)[0], known) {
				t.Errorf("%s, %s: %s", s.alert, s.is, fault)
			}
		}
	}
}

// firing returns the labels of the alerts that fire, by one evaluation each step from the beginning on.
func firing(t *testing.T, engine *promql.Engine, scraped storage.Queryable, rule rulefmt.Rule, at time.Duration) []string {
	t.Helper()
	active := map[string]time.Duration{} // since when
	for now := time.Duration(0); now <= at; now += step {
		query, err := engine.NewInstantQuery(t.Context(), scraped, nil, rule.Expr, time.UnixMilli(now.Milliseconds()))
		if err != nil {
			t.Fatal(err)
		}
		found, err := query.Exec(t.Context()).Vector()
		if err != nil {
			t.Fatal(err)
		}
		still := map[string]time.Duration{}
		for _, sample := range found {
			metric := sample.Metric.DropReserved(func(name string) bool { return name == model.MetricNameLabel }).String()
			if since, was := active[metric]; was {
				still[metric] = since
			} else {
				still[metric] = now
			}
		}
		query.Close()
		active = still
	}
	var all []string
	for metric, since := range active {
		if at-since >= time.Duration(rule.For) {
			all = append(all, metric)
		}
	}
	slices.Sort(all)
	return all
}

// scrape returns a storage that has the series, with a sample each step from the beginning of time on.
func scrape(t *testing.T, texts []string) storage.Queryable {
	t.Helper()
	var all []storage.Series
	for _, text := range texts {
		metric, values, err := language.ParseSeriesDesc(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var samples []chunks.Sample
		for i, value := range values {
			if !value.Omitted {
				samples = append(samples, sample{time.Duration(i) * step, value.Value})
			}
		}
		all = append(all, storage.NewListSeries(metric, samples))
	}
	chosen := func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		found := &seriesSet{}
		for _, series := range all {
			fits := func(m *labels.Matcher) bool { return m.Matches(series.Labels().Get(m.Name)) }
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !fits(m) }) {
				found.all = append(found.all, series)
			}
		}
		return found
	}
	return &storage.MockQueryable{MockQuerier: &storage.MockQuerier{SelectMockFunction: chosen}}
}

// seriesSet is what was found.
type seriesSet struct {
	all  []storage.Series
	next int
}

func (s *seriesSet) Next() bool                      { s.next++; return s.next <= len(s.all) }
func (s *seriesSet) At() storage.Series              { return s.all[s.next-1] }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// sample is a number at a time since the beginning.
type sample struct {
	at    time.Duration
	value float64
}

func (s sample) T() int64                    { return s.at.Milliseconds() }
func (sample) ST() int64                     { return 0 }
func (s sample) F() float64                  { return s.value }
func (sample) H() *histogram.Histogram       { return nil }
func (sample) FH() *histogram.FloatHistogram { return nil }
func (sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample         { return s }
