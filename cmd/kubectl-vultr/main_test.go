package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/balancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/orphans"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/volumes"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	good = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  type: LoadBalancer\n  ports: [{port: 80}]\n"
	bad  = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n    " + settings.Prefix + "timeout: \"never\"\nspec:\n  type: LoadBalancer\n  ports: [{port: 80}]\n"
	odd  = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n    " + settings.Prefix + "time-out: \"300\"\nspec:\n  type: LoadBalancer\n  ports: [{port: 80}]\n"
)

// offline fails the test when a command wants the cluster.
func offline(t *testing.T, input string, args ...string) (code int, out, errors string) {
	t.Helper()
	var o, e strings.Builder
	code = run(t.Context(), args, environment{
		in: strings.NewReader(input), out: &o, err: &e, getenv: func(string) string { return "" }, now: time.Now,
		cluster: func(kube.Options) (*kube.Cluster, error) {
			t.Error("the cluster was asked for")
			return nil, io.EOF
		},
	})
	return code, o.String(), e.String()
}

func TestLintOfFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"good.yaml": good, "bad.yml": bad, "odd.yaml": odd, "broken.yaml": "a: b: c\n", "notes.txt": "no manifest"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	tests := map[string]struct {
		input string
		args  []string
		code  int
		says  []string
	}{
		"good":              {"", []string{"-f", file("good.yaml")}, report.Clean, []string{"Nothing was found."}},
		"bad":               {"", []string{"-f", file("bad.yml")}, report.Found, []string{file("bad.yml") + ":6", "must be a number", "error"}},
		"a warning":         {"", []string{"-f", file("odd.yaml")}, report.Clean, []string{"did you mean"}},
		"strict":            {"", []string{"-f", file("odd.yaml"), "--strict"}, report.Found, []string{"did you mean"}},
		"standard input":    {bad, []string{"-f", "-"}, report.Found, []string{"-:6"}},
		"several":           {"", []string{"-f", file("good.yaml"), "-f", file("bad.yml")}, report.Found, []string{"bad.yml:6"}},
		"a directory":       {"", []string{"-f", dir}, report.Found, []string{"bad.yml:6", "odd.yaml:6", "broken.yaml:1"}},
		"a default":         {good, []string{"-f", "-", "--default", "protocol=https"}, report.Found, []string{"certificate"}},
		"a faulty default":  {good, []string{"-f", "-", "--default", "protocol=gopher"}, report.Failed, []string{"--default", "must be one of"}},
		"no default":        {good, []string{"-f", "-", "--default", "protocol"}, report.Failed, []string{"not name=value"}},
		"default, no files": {"", []string{"--default", "protocol=https"}, report.Failed, []string{"--default is for files"}},
		"no such file":      {"", []string{"-f", file("none.yaml")}, report.Failed, []string{"none.yaml"}},
		"JSON":              {bad, []string{"-f", "-", "-o", "json"}, report.Found, []string{`"line": 6`, `"remedy"`}},
		"empty JSON":        {good, []string{"-f", "-", "-o", "json"}, report.Clean, []string{"[]"}},
		"no such format":    {good, []string{"-f", "-", "-o", "wide"}, report.Failed, []string{"table, json, yaml"}},
		"an argument":       {"", []string{"x"}, report.Failed, []string{"unknown command"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, out, errors := offline(t, test.input, append([]string{"lint"}, test.args...)...)
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, text := range test.says {
				if !strings.Contains(out+errors, text) {
					t.Errorf("it does not say %q:\n%s%s", text, out, errors)
				}
			}
			if strings.Contains(out, "notes.txt") {
				t.Errorf("a file that is no manifest was read:\n%s", out)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	if code, out, _ := offline(t, "", "--help"); code != report.Clean || !strings.Contains(out, "VULTR_API_KEY") {
		t.Errorf("%d\n%s", code, out)
	}
	for _, args := range [][]string{{"frobnicate"}, {"lb", "--api-key=x"}, {"orphans", "--min-age=1m"}} {
		if code, out, errors := offline(t, "", args...); code != report.Failed || errors == "" {
			t.Errorf("%v: %d\n%s%s", args, code, out, errors)
		}
	}
}

func TestLintOfTheCluster(t *testing.T) {
	w := newWorld(t)
	w.service("fine", nil)
	w.service("web", map[string]string{settings.Prefix + "timeout": "never"})
	w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{string(settings.HandOver): "x"}}})
	places := func(findings []report.Finding) (all []string) {
		for _, f := range findings {
			all = append(all, f.Place())
		}
		return all
	}
	if got := places(want[[]report.Finding](w, report.Found, nil, "lint")); !slices.Equal(got, []string{"Service shop/web"}) {
		t.Errorf("the namespace: %v", got)
	}
	if got := places(want[[]report.Finding](w, report.Found, nil, "lint", "-A")); !slices.Equal(got, []string{"Namespace shop", "Service shop/web"}) {
		t.Errorf("all: %v", got)
	}
	if got := want[[]report.Finding](w, report.Clean, nil, "lint", "-n", "other"); len(got) > 0 {
		t.Errorf("another namespace: %v", got)
	}
}

func TestBalancers(t *testing.T) {
	w := newWorld(t)
	node := w.machine("a")
	service, drifted, none := w.service("web", nil), w.service("drifted", nil), w.service("none", nil)
	unmanaged := w.service("unmanaged", map[string]string{settings.Prefix + "create": "false"})
	id := w.balancer(service, node)
	w.write(service, ledger.Entry{ID: id})
	other := w.balancer(drifted, node)
	timeout := 17
	if err := w.api.UpdateLoadBalancer(t.Context(), other, vultr.LoadBalancerSettings{Timeout: &timeout, Instances: &[]string{}}); err != nil {
		t.Fatal(err)
	}
	shown := map[string]balancers.Balancer{}
	for _, b := range want[[]balancers.Balancer](w, report.Found, nil, "lb") {
		shown[b.Service] = b
	}
	if b := shown["shop/web"]; b.State != balancers.Serving || b.Proof != "ledger" || b.ID != id || len(b.Addresses) == 0 || b.MonthlyCost != 10 ||
		!slices.Equal(b.Rules, []string{"tcp 80 -> tcp 31080"}) || !slices.Equal(b.Backends, []balancers.Backend{{Instance: node, Node: "a", Ready: true}}) {
		t.Errorf("web: %+v", b)
	}
	if b := shown["shop/drifted"]; b.State != balancers.Differs || b.Proof != "label" || !slices.Equal(b.Differs, []string{"timeout", "instances"}) {
		t.Errorf("drifted: %+v", b)
	}
	if b := shown["shop/none"]; b.State != balancers.Missing {
		t.Errorf("%s: %+v", none.Name, b)
	}
	if b := shown["shop/unmanaged"]; b.State != balancers.Unmanaged {
		t.Errorf("%s: %+v", unmanaged.Name, b)
	}
	table := w.run(nil, "lb", "-A")
	for _, text := range []string{"shop/web", "differs from what the Service asks for: timeout, instances", "it has no load balancer", "not told by the API"} {
		if !strings.Contains(table.out, text) {
			t.Errorf("the table lacks %q:\n%s", text, table.out)
		}
	}
}

// TestWhatServicesName: what a Service names for its load balancer counts as it does for the controller. What the caller may not
// read is told, and no fault of the Service.
func TestWhatServicesName(t *testing.T) {
	w := newWorld(t)
	service := w.service("web", map[string]string{string(settings.FirewallRulesCM): "office"})
	w.add(&v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "office"}, Data: map[string]string{"firewallRules": "10.0.0.0/8,80"}})
	w.write(service, ledger.Entry{ID: w.balancer(service, w.machine("a"))})
	got := want[[]balancers.Balancer](w, report.Found, nil, "lb")
	if len(got) != 1 || got[0].State != balancers.Differs || len(got[0].Differences) != 1 || got[0].Differences[0].Wanted != "10.0.0.0/8 to 80" {
		t.Errorf("got %+v", got)
	}
	if found := want[[]report.Finding](w, report.Clean, nil, "lint"); len(found) > 0 {
		t.Errorf("found %+v", found)
	}
	w.client.PrependReactor("get", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
		name := action.(clienttesting.GetAction).GetName()
		return name == "office", nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, name, nil)
	})
	for _, command := range []string{"lb", "lint"} {
		if a := w.run(nil, command); a.code != report.Clean || !strings.Contains(a.err, "what Service shop/web names") {
			t.Errorf("%s: %+v", command, a)
		}
	}
}

// TestAllIsWellWithBalancers is the exit code that CI waits for.
func TestAllIsWellWithBalancers(t *testing.T) {
	w := newWorld(t)
	node := w.machine("a")
	service := w.service("web", nil)
	w.write(service, ledger.Entry{ID: w.balancer(service, node)})
	foreign := w.balancer(w.unborn("elsewhere", nil), node)
	if got := want[[]balancers.Balancer](w, report.Clean, nil, "lb"); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
	got := want[[]balancers.Balancer](w, report.Clean, nil, "lb", "--all")
	if len(got) != 2 || got[1].ID != foreign || got[1].State != balancers.Foreign {
		t.Errorf("got %+v", got)
	}
}

func TestVolumes(t *testing.T) {
	w := newWorld(t)
	node := w.machine("a")
	stranger := w.cloud.AddInstance(simulator.NewServer{Label: "stranger"})
	attached, lonely, astray := w.block("prod/pvc-1"), w.block("prod/pvc-2"), w.block("prod/pvc-3")
	w.attach(attached, node)
	w.attach(astray, stranger)
	w.add(pv("pv-1", attached, "one"), pv("pv-2", lonely, "two"), pv("pv-3", astray, "three"), pv("pv-4", "0a000000-0000-4000-8000-000000000001", "four"))
	w.add(attachment("va-1", "pv-1", "a"))
	shown := map[string]volumes.Volume{}
	for _, v := range want[[]volumes.Volume](w, report.Found, nil, "volumes") {
		shown[v.Claim] = v
	}
	if v := shown["shop/one"]; len(v.Problems) > 0 || v.SizeGiB != 10 || v.MonthlyCost != 1 || len(v.Attachments) != 1 || v.Attachments[0].Node != "a" ||
		!v.Attachments[0].Wanted || v.Attachments[0].Device == "" {
		t.Errorf("one: %+v", v)
	}
	if v := shown["shop/two"]; len(v.Problems) > 0 || len(v.Attachments) > 0 {
		t.Errorf("two: %+v", v)
	}
	if v := shown["shop/three"]; len(v.Problems) != 1 || !strings.Contains(v.Problems[0].Problem, stranger) {
		t.Errorf("three: %+v", v)
	}
	if v := shown["shop/four"]; len(v.Problems) != 1 || !strings.Contains(v.Problems[0].Problem, "the account has no such volume") {
		t.Errorf("four: %+v", v)
	}
	table := w.run(nil, "volumes")
	for _, text := range []string{"shop/one", "4 PersistentVolumes, 3.00 dollars a month", "What to do: "} {
		if !strings.Contains(table.out, text) {
			t.Errorf("the table lacks %q:\n%s", text, table.out)
		}
	}
	if got := want[[]volumes.Volume](w, report.Clean, nil, "volumes", "-n", "other"); len(got) > 0 {
		t.Errorf("another namespace: %+v", got)
	}
}

// TestKeys shows where the key is taken from.
func TestKeys(t *testing.T) {
	w := newWorld(t)
	w.machine("a")
	if err := w.client.Tracker().Delete(v1.SchemeGroupVersion.WithResource("secrets"), kube.System, kube.CCMSecret); err != nil {
		t.Fatal(err)
	}
	if got := w.run(nil, "lb"); got.code != report.Clean {
		t.Errorf("the other Secret: %d\n%s", got.code, got.err)
	}
	w.env["VULTR_API_KEY"] = "WRONGKEY0123456789ABCDEFGHIJKLMNOPQR"
	got := w.run(nil, "lb")
	if got.code != report.Failed || !strings.Contains(got.err, "401") || strings.Contains(got.out+got.err, "WRONGKEY") {
		t.Errorf("the environment's key: %d\n%s%s", got.code, got.out, got.err)
	}
	delete(w.env, "VULTR_API_KEY")
	if err := w.client.Tracker().Delete(v1.SchemeGroupVersion.WithResource("secrets"), kube.System, kube.CSISecret); err != nil {
		t.Fatal(err)
	}
	if got := w.run(nil, "lb"); got.code != report.Failed || !strings.Contains(got.err, "VULTR_API_KEY") {
		t.Errorf("no key: %d\n%s", got.code, got.err)
	}
}

func ids(found answer) (all []string) {
	for _, o := range found.Orphans {
		all = append(all, o.ID)
	}
	return all
}

func TestOrphans(t *testing.T) {
	w := newWorld(t)
	node := w.machine("a")
	gone, unrecorded := w.unborn("gone", nil), w.unborn("unrecorded", nil)
	recorded := w.balancer(gone, node)
	w.write(gone, ledger.Entry{ID: recorded})
	unknown := w.balancer(unrecorded, node)
	serving := w.service("web", nil)
	w.write(serving, ledger.Entry{ID: w.balancer(serving, node)})

	orphan := w.block("prod/pvc-10000000-43b6-4d94-b8f5-1c5c0e0a3c11")
	used := w.block("prod/pvc-20000000-43b6-4d94-b8f5-1c5c0e0a3c11")
	w.block("prod/pvc-30000000-43b6-4d94-b8f5-1c5c0e0a3c11") // its claim is about to get it
	w.block("test/pvc-40000000-43b6-4d94-b8f5-1c5c0e0a3c11") // another cluster's
	w.block("pvc-50000000-43b6-4d94-b8f5-1c5c0e0a3c11")      // nobody's by proof
	w.add(pv("pv-2", strings.ToUpper(used), "two"),
		&v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "three", UID: "30000000-43b6-4d94-b8f5-1c5c0e0a3c11"}})

	found := want[answer](w, report.Found, nil, "orphans")
	wanted := []string{recorded, unknown, orphan}
	got := ids(found)
	slices.Sort(wanted)
	if slices.Sort(got); !slices.Equal(got, wanted) {
		t.Errorf("got %v, want %v\n%+v", got, wanted, found)
	}
	if found.MonthlyCost != 21 {
		t.Errorf("cost %v, want 10 for each load balancer and 1 for the disk", found.MonthlyCost)
	}
	for _, o := range found.Orphans {
		if o.Proof == "" || o.Kept != "" {
			t.Errorf("%+v", o)
		}
	}
	table := w.run(nil, "orphans")
	for _, text := range []string{orphan, "3d", "21.00 dollars a month", "Service shop/gone"} {
		if !strings.Contains(table.out, text) {
			t.Errorf("the table lacks %q:\n%s", text, table.out)
		}
	}
	if got := want[answer](w, report.Clean, nil, "orphans", "--min-age=1000h"); len(got.Orphans) > 0 {
		t.Errorf("too young: %+v", got)
	}
	if len(w.cloud.Sim.View().LoadBalancers) != 3 || len(w.cloud.Sim.View().Blocks) != 5 {
		t.Error("looking has deleted something")
	}
}

func TestOrphanedSnapshots(t *testing.T) {
	w := newWorld(t)
	w.machine("a")
	source, foreign := w.block("prod/pvc-10000000-43b6-4d94-b8f5-1c5c0e0a3c11"), w.block("people's own")
	w.add(pv("pv-1", source, "one"))
	snapshot := func(volume, description string) string {
		s, err := w.api.CreateSnapshot(t.Context(), volume, description)
		if err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	const orphan, used = "snapshot-10000000-43b6-4d94-b8f5-1c5c0e0a3c11", "snapshot-20000000-43b6-4d94-b8f5-1c5c0e0a3c11"
	id := snapshot(source, orphan)
	w.content("c", snapshot(source, used))
	snapshot(source, "before the upgrade")
	snapshot(foreign, "snapshot-30000000-43b6-4d94-b8f5-1c5c0e0a3c11")
	w.cloud.Await("complete snapshots", func() bool {
		return !slices.ContainsFunc(w.cloud.Sim.View().Snapshots, func(v simulator.SnapshotView) bool { return !strings.EqualFold(v.State, "complete") })
	})
	found := want[answer](w, report.Found, nil, "orphans")
	if len(found.Orphans) != 1 || found.Orphans[0].ID != id || found.Orphans[0].MonthlyCost != nil {
		t.Fatalf("got %+v", found)
	}
	if got := want[[]deletion](w, report.Clean, strings.NewReader(id+"\n"), "orphans", "--delete", id); len(got) != 1 || !got[0].Deleted {
		t.Errorf("got %+v", got)
	}
	if left := len(w.cloud.Sim.View().Snapshots); left != 3 {
		t.Errorf("%d snapshots are left, want 3", left)
	}
}

// asked runs a function when a person is asked, and then types the answer: what happens in between must count.
type asked struct {
	io.Reader

	before func()
}

func (a *asked) Read(p []byte) (int, error) {
	if a.before != nil {
		a.before()
		a.before = nil
	}
	return a.Reader.Read(p)
}

func TestDelete(t *testing.T) {
	const label = "prod/pvc-10000000-43b6-4d94-b8f5-1c5c0e0a3c11"
	tests := map[string]struct {
		// types is what a person types; ID stands for the ID.
		types string
		// before happens before the look, meanwhile when the person is asked.
		before, meanwhile func(w *world, id string)
		outcome           string
		code              int
	}{
		"confirmed":             {types: "ID\n", outcome: "deleted", code: report.Clean},
		"another ID":            {types: "0a000000-0000-4000-8000-000000000001\n", outcome: "not deleted: its ID was not typed", code: report.Found},
		"yes is not enough":     {types: "yes\n", outcome: "not deleted: its ID was not typed", code: report.Found},
		"nobody there":          {types: "", outcome: "not deleted: its ID was not typed", code: report.Found},
		"attached":              {types: "ID\n", before: func(w *world, id string) { w.attach(id, w.machine("b")) }, outcome: "not deleted: it is attached to instance", code: report.Found},
		"in use":                {types: "ID\n", before: func(w *world, id string) { w.add(pv("pv", id, "one")) }, outcome: "it is not a known orphan", code: report.Found},
		"in use meanwhile":      {types: "ID\n", meanwhile: func(w *world, id string) { w.add(pv("pv", id, "one")) }, outcome: "something in the cluster uses it now", code: report.Found},
		"attached meanwhile":    {types: "ID\n", meanwhile: func(w *world, id string) { w.attach(id, w.machine("b")) }, outcome: "it is attached to instance", code: report.Found},
		"relabelled meanwhile":  {types: "ID\n", meanwhile: func(w *world, id string) { w.relabel(id, "prod/important") }, outcome: `it is called "prod/important" now`, code: report.Found},
		"gone meanwhile":        {types: "ID\n", meanwhile: func(w *world, id string) { w.remove(id) }, outcome: "it was gone before", code: report.Clean},
		"the cluster is silent": {types: "ID\n", meanwhile: func(w *world, _ string) { w.silence("persistentvolumes") }, outcome: "was not deleted: reading the PersistentVolumes", code: report.Found},
		"an account's stranger": {types: "ID\n", meanwhile: func(w *world, _ string) { w.strangers() }, outcome: "nothing is an orphan before the account is proven", code: report.Found},
		"the platform refuses":  {types: "ID\n", meanwhile: func(w *world, _ string) { w.refuse("delete_block") }, outcome: "500", code: report.Found},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.machine("a")
			id, kept := w.block(label), w.block("prod/pvc-20000000-43b6-4d94-b8f5-1c5c0e0a3c11")
			if test.before != nil {
				test.before(w, id)
			}
			input := &asked{Reader: strings.NewReader(strings.ReplaceAll(test.types, "ID", id))}
			if test.meanwhile != nil {
				input.before = func() { test.meanwhile(w, id) }
			}
			got := want[[]deletion](w, test.code, input, "orphans", "--delete", id)
			if len(got) != 1 || got[0].ID != id || !strings.Contains(got[0].Outcome, test.outcome) || got[0].Deleted != (test.code == report.Clean) {
				t.Errorf("got %+v", got)
			}
			there := func(id string) bool {
				return slices.ContainsFunc(w.cloud.Sim.View().Blocks, func(b simulator.BlockView) bool { return b.ID == id })
			}
			if there(id) != (test.code != report.Clean) || !there(kept) {
				t.Errorf("there: the one %v, another one %v", there(id), there(kept))
			}
		})
	}
}

func (w *world) relabel(id, label string) {
	w.Helper()
	if err := w.api.RelabelVolume(w.Context(), id, label); err != nil {
		w.Fatal(err)
	}
}

func (w *world) remove(id string) {
	w.Helper()
	if err := w.api.DeleteVolume(w.Context(), id); err != nil {
		w.Fatal(err)
	}
}

func TestDeleteOfLoadBalancers(t *testing.T) {
	w := newWorld(t)
	node := w.machine("a")
	gone, back := w.unborn("gone", nil), w.unborn("back", nil)
	first, second := w.balancer(gone, node), w.balancer(back, node)
	w.write(gone, ledger.Entry{ID: first})
	w.write(back, ledger.Entry{ID: second})
	// The second one's Service is there again when its ID has been typed.
	input := &asked{Reader: strings.NewReader(first + "\n" + second + "\n"), before: func() { w.add(back) }}
	got := want[[]deletion](w, report.Found, input, "orphans", "--delete", first+","+second)
	if len(got) != 2 || !got[0].Deleted || got[1].Deleted || !strings.Contains(got[1].Outcome, "something in the cluster uses it now") {
		t.Errorf("got %+v", got)
	}
	left := w.cloud.Sim.View().LoadBalancers
	if len(left) != 1 || left[0].ID != second || left[0].Label != lost.Label(back.UID) {
		t.Errorf("left: %+v", left)
	}
}

func TestNothingIsKnownWithoutProof(t *testing.T) {
	w := newWorld(t)
	w.machine("a")
	w.block("prod/pvc-10000000-43b6-4d94-b8f5-1c5c0e0a3c11")
	w.strangers()
	got := w.run(nil, "orphans")
	if got.code != report.Failed || got.out != "" || !strings.Contains(got.err, "another account") {
		t.Errorf("%d\n%s%s", got.code, got.out, got.err)
	}
}

func TestWhatCannotBeListed(t *testing.T) {
	w := newWorld(t)
	w.machine("a")
	id := w.block("prod/pvc-10000000-43b6-4d94-b8f5-1c5c0e0a3c11")
	w.cloud.Fault(simulator.Fault{Operation: "list_vfs", Action: simulator.FaultStatus, Status: 403})
	found := want[answer](w, report.Failed, nil, "orphans")
	if !slices.Equal(ids(found), []string{id}) || len(found.Unknown) != 1 || !strings.Contains(found.Unknown[0], string(orphans.FileSystem)) {
		t.Errorf("got %+v", found)
	}
}
