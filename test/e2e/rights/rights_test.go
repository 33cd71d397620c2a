package rights

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

// The lines are as kube-apiserver 1.37 writes them, but for what nobody reads.
const auditLines = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/kube-system/configmaps/a?fieldManager=x","verb":"patch","user":{"username":"system:serviceaccount:kube-system:one","uid":"1","groups":["system:authenticated"]},"sourceIPs":["192.0.2.11"],"userAgent":"ccm/v1.37.2 (linux/amd64) kubernetes/abc","objectRef":{"resource":"configmaps","namespace":"kube-system","name":"a","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed"}}
{"stage":"ResponseStarted","requestURI":"/apis/storage.k8s.io/v1/volumeattachments?watch=true","verb":"watch","user":{"username":"two"},"userAgent":"csi-attacher/v4","objectRef":{"resource":"volumeattachments","apiGroup":"storage.k8s.io","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"stage":"ResponseComplete","requestURI":"/apis/storage.k8s.io/v1/volumeattachments/x/status","verb":"patch","user":{"username":"two"},"userAgent":"csi-attacher/v4","objectRef":{"resource":"volumeattachments","name":"x","apiGroup":"storage.k8s.io","apiVersion":"v1","subresource":"status"},"responseStatus":{"metadata":{},"status":"Failure","reason":"Forbidden","code":403},"annotations":{"authorization.k8s.io/decision":"forbid","authorization.k8s.io/reason":""}}
{"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/events","verb":"create","user":{"username":"one"},"userAgent":"ccm","objectRef":{"resource":"events","namespace":"shop","name":"web.1","apiVersion":"v1"},"responseStatus":{"code":403},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"stage":"ResponseComplete","requestURI":"/healthz?verbose","verb":"get","user":{"username":"one"},"userAgent":"ccm/v1","responseStatus":{"code":200},"annotations":{"authorization.k8s.io/decision":"allow"}}
`

func TestRead(t *testing.T) {
	want := []Call{
		{User: "system:serviceaccount:kube-system:one", Program: "ccm", Verb: "patch", Resource: "configmaps", Namespace: "kube-system", Name: "a", Code: 200},
		{User: "two", Program: "csi-attacher", Verb: "watch", Group: "storage.k8s.io", Resource: "volumeattachments", Code: 200},
		{User: "two", Program: "csi-attacher", Verb: "patch", Group: "storage.k8s.io", Resource: "volumeattachments/status", Name: "x", Code: 403, Denied: true},
		{User: "one", Program: "ccm", Verb: "create", Resource: "events", Namespace: "shop", Name: "web.1", Code: 403},
		{User: "one", Program: "ccm", Verb: "get", Path: "/healthz", Code: 200},
	}
	got, err := Read(strings.NewReader(auditLines + `{"stage":"Response`)) // it is being written
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if _, err := Read(strings.NewReader("no JSON\n")); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a line that is no event: %v", err)
	}
}

func TestDenied(t *testing.T) {
	calls, err := Read(strings.NewReader(auditLines + auditLines))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"two (csi-attacher): patch volumeattachments.storage.k8s.io/status x, 2 times"}
	if got := Denied(calls); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAllows has what the apiserver's own judge distinguishes (pkg/apis/rbac/v1/evaluation_helpers.go).
func TestAllows(t *testing.T) {
	pods := func(change ...func(*Call)) Call {
		c := Call{Verb: "get", Resource: "pods", Namespace: "shop", Name: "web"}
		for _, do := range change {
			do(&c)
		}
		return c
	}
	log := func(c *Call) { c.Resource = "pods/log" }
	create := func(c *Call) { c.Verb = "create" }
	nameless := func(c *Call) { c.Name = "" }
	node := Call{Verb: "get", Group: "metrics.k8s.io", Resource: "nodes", Name: "a"}
	page := Call{Verb: "get", Path: "/metrics/slis"}
	for name, tt := range map[string]struct {
		right Right
		call  Call
		want  bool
	}{
		"the same":                       {Right{Verb: "get", Resource: "pods"}, pods(), true},
		"another verb":                   {Right{Verb: "list", Resource: "pods"}, pods(), false},
		"any verb":                       {Right{Verb: "*", Resource: "pods"}, pods(), true},
		"another resource":               {Right{Verb: "get", Resource: "nodes"}, pods(), false},
		"any resource":                   {Right{Verb: "get", Resource: "*"}, pods(), true},
		"another group":                  {Right{Verb: "get", Group: "metrics.k8s.io", Resource: "pods"}, pods(), false},
		"of the core group only":         {Right{Verb: "get", Resource: "nodes"}, node, false},
		"any group":                      {Right{Verb: "get", Group: "*", Resource: "nodes"}, node, true},
		"a subresource of its own":       {Right{Verb: "get", Resource: "pods"}, pods(log), false},
		"that subresource":               {Right{Verb: "get", Resource: "pods/log"}, pods(log), true},
		"not the whole for a part":       {Right{Verb: "get", Resource: "pods/log"}, pods(), false},
		"that subresource of all":        {Right{Verb: "get", Resource: "*/log"}, pods(log), true},
		"another subresource of all":     {Right{Verb: "get", Resource: "*/status"}, pods(log), false},
		"no subresource of all":          {Right{Verb: "get", Resource: "*/log"}, pods(), false},
		"everything has subresources":    {Right{Verb: "get", Resource: "*"}, pods(log), true},
		"there is no such wildcard":      {Right{Verb: "get", Resource: "pods/*"}, pods(log), false},
		"by name":                        {Right{Verb: "get", Resource: "pods", Names: []string{"db", "web"}}, pods(), true},
		"by another name":                {Right{Verb: "get", Resource: "pods", Names: []string{"db"}}, pods(), false},
		"by name without one":            {Right{Verb: "list", Resource: "pods", Names: []string{"web"}}, pods(nameless, func(c *Call) { c.Verb = "list" }), false},
		"watched by name":                {Right{Verb: "watch", Resource: "pods", Names: []string{"web"}}, pods(func(c *Call) { c.Verb = "watch" }), true},
		"nothing is made by name":        {Right{Verb: "create", Resource: "pods", Names: []string{"web"}}, pods(create), false},
		"made":                           {Right{Verb: "create", Resource: "pods"}, pods(create), true},
		"a part of what is there, named": {Right{Verb: "create", Resource: "pods/log", Names: []string{"web"}}, pods(create, log), true},
		"no path":                        {Right{Verb: "get", Path: "/metrics"}, pods(), false},
		"no resource":                    {Right{Verb: "get", Resource: "*"}, page, false},
		"another path":                   {Right{Verb: "get", Path: "/metrics"}, page, false},
		"that path":                      {Right{Verb: "get", Path: "/metrics/slis"}, page, true},
		"paths below":                    {Right{Verb: "get", Path: "/metrics/*"}, page, true},
		"paths that begin so":            {Right{Verb: "get", Path: "/met*"}, page, true},
		"any path":                       {Right{Verb: "*", Path: "*"}, page, true},
		"another verb of a path":         {Right{Verb: "post", Path: "*"}, page, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.right.Allows(tt.call); got != tt.want {
				t.Errorf("%q with names %v allows %q: %v", tt.right, tt.right.Names, tt.call, got)
			}
		})
	}
}

func TestOf(t *testing.T) {
	var got []string
	for _, r := range Of([]rbacv1.PolicyRule{
		{Verbs: []string{"get", "list"}, APIGroups: []string{"", "apps"}, Resources: []string{"pods/log", "x"}},
		{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}},
	}) {
		got = append(got, r.String())
	}
	want := []string{
		"get pods/log", "get x", "get pods.apps/log", "get x.apps", "list pods/log", "list x", "list pods.apps/log", "list x.apps", "get /metrics",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestUnused: a grant is used by what its account, its program, in its namespace was allowed.
func TestUnused(t *testing.T) {
	grant := func(verb string, change ...func(*Grant)) Grant {
		g := Grant{Right: Right{Verb: verb, Resource: "pods"}, Role: "Role a", User: "one"}
		for _, do := range change {
			do(&g)
		}
		return g
	}
	call := Call{User: "one", Program: "ccm", Verb: "get", Resource: "pods", Namespace: "shop", Name: "web", Code: 404}
	for name, tt := range map[string]struct {
		grant Grant
		call  Call
		used  bool
	}{
		"used":                    {grant("get"), call, true},
		"another verb":            {grant("list"), call, false},
		"another account":         {grant("get", func(g *Grant) { g.User = "two" }), call, false},
		"in its namespace":        {grant("get", func(g *Grant) { g.Namespace = "shop" }), call, true},
		"in another namespace":    {grant("get", func(g *Grant) { g.Namespace = "kube-system" }), call, false},
		"by its program":          {grant("get", func(g *Grant) { g.Program = "ccm" }), call, true},
		"by another program":      {grant("get", func(g *Grant) { g.Program = "csi" }), call, false},
		"what was denied is none": {grant("get"), Call{User: "one", Verb: "get", Resource: "pods", Denied: true, Code: 403}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := len(Unused([]Grant{tt.grant}, []Call{tt.call, tt.call})) == 0; got != tt.used {
				t.Errorf("used: %v", got)
			}
		})
	}
	grants := []Grant{grant("get"), grant("list"), grant("watch")}
	if left := Unused(grants, []Call{call}); len(left) != 2 || left[0].Verb != "list" || left[1].Verb != "watch" || grants[0].Verb != "get" {
		t.Errorf("left %v of %v", left, grants)
	}
}

func TestJudge(t *testing.T) {
	grant := func(role, verb, resource string) Grant {
		return Grant{Right: Right{Verb: verb, Resource: resource}, Role: role, User: "one"}
	}
	list, watch, get := grant("Role a", "list", "pods"), grant("Role a", "watch", "pods"), grant("Role a", "get", "secrets")
	alone := grant("Role b", "list", "pods")
	grants := []Grant{list, watch, get, alone}
	reads := Known{Reason: "informers", Verbs: []string{"get", "list"}, Beside: "watch"}
	for name, tt := range map[string]struct {
		unused []Grant
		known  []Known
		notes  []string
		faults []string
	}{
		"all are used":             {nil, nil, nil, nil},
		"nobody knows":             {[]Grant{get, alone}, nil, nil, []string{"Role a: get secrets", "Role b: list pods"}},
		"known by name":            {[]Grant{get}, []Known{{Reason: "x", Rights: []string{"Role a: get secrets"}}}, nil, nil},
		"known, but used":          {nil, []Known{{Reason: "x", Rights: []string{"Role a: get secrets"}}}, []string{"Role a: get secrets"}, nil},
		"known, but not granted":   {nil, []Known{{Reason: "x", Rights: []string{"Role a: get nodes"}}}, nil, []string{"Role a: get nodes"}},
		"beside one that is used":  {[]Grant{list}, []Known{reads}, nil, nil},
		"beside one that is not":   {[]Grant{list, watch}, []Known{reads}, nil, []string{"Role a: list pods", "Role a: watch pods"}},
		"beside one of another":    {[]Grant{alone}, []Known{reads}, nil, []string{"Role b: list pods"}},
		"beside one for other":     {[]Grant{get}, []Known{reads}, nil, []string{"Role a: get secrets"}},
		"a rule for another verb":  {[]Grant{watch}, []Known{{Reason: "x", Verbs: []string{"get"}, Beside: "list"}}, nil, []string{"Role a: watch pods"}},
		"one of two is not known":  {[]Grant{list, get}, []Known{reads}, nil, []string{"Role a: get secrets"}},
		"two entries for two":      {[]Grant{list, get}, []Known{reads, {Reason: "x", Rights: []string{"Role a: get secrets"}}}, nil, nil},
		"used, and another is not": {[]Grant{alone}, []Known{{Reason: "x", Rights: []string{"Role a: get secrets"}}}, []string{"Role a: get secrets"}, []string{"Role b: list pods"}},
	} {
		t.Run(name, func(t *testing.T) {
			notes, err := Judge(grants, tt.unused, tt.known)
			if !slices.Equal(notes, tt.notes) {
				t.Errorf("notes %q, want %q", notes, tt.notes)
			}
			var lines []string
			if err != nil {
				lines = strings.Split(err.Error(), "\n")
			}
			if len(lines) != len(tt.faults) {
				t.Fatalf("faults %q, want %q", lines, tt.faults)
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, tt.faults[i]+":") {
					t.Errorf("fault %q, want %q", line, tt.faults[i])
				}
			}
		})
	}
}

func TestReadKnown(t *testing.T) {
	for content, fault := range map[string]string{
		"- {reason: x, rights: [a]}\n":                 "",
		"- {reason: x, verbs: [get], beside: watch}\n": "",
		"- {rights: [a]}\n":                            "entry 1: a reason",
		"- {reason: x}\n":                              "entry 1: a reason",
		"- {reason: x, verbs: [get]}\n":                "entry 1: a reason",
		"- {reason: x, rights: [a]}\n- {reason: x, rights: [a], verbs: [get], beside: list}\n": "entry 2: a reason",
		"- {reason: x, right: [a]}\n": "right",
	} {
		file := filepath.Join(t.TempDir(), "known.yaml")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		known, err := ReadKnown(file)
		if (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: %v, %v", content, known, err)
		}
	}
}

// TestShippedList: the list that TestRights takes can be read.
func TestShippedList(t *testing.T) {
	if known, err := ReadKnown("known.yaml"); err != nil || len(known) == 0 {
		t.Errorf("%v, %v", known, err)
	}
}
