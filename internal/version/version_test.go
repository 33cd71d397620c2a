package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	recorded := &debug.BuildInfo{
		Main: debug.Module{Version: "v0.0.0-20260101000000-abcdef"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "abcdef"},
			{Key: "vcs.modified", Value: "true"},
		},
	}
	for name, tc := range map[string]struct {
		version, commit         string
		build                   *debug.BuildInfo
		wantVersion, wantCommit string
	}{
		"nothing is known":           {wantVersion: "devel"},
		"a checkout":                 {build: &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, wantVersion: "devel"},
		"the toolchain's record":     {build: recorded, wantVersion: "v0.0.0-20260101000000-abcdef", wantCommit: "abcdef-dirty"},
		"the stamp wins":             {version: "v1.2.3", commit: "123456", build: recorded, wantVersion: "v1.2.3", wantCommit: "123456"},
		"a version without a commit": {version: "v1.2.3", build: recorded, wantVersion: "v1.2.3", wantCommit: "abcdef-dirty"},
	} {
		t.Run(name, func(t *testing.T) {
			got := describe(tc.version, tc.commit, tc.build)
			if got.Version != tc.wantVersion || got.Commit != tc.wantCommit {
				t.Errorf("got %q at %q, want %q at %q", got.Version, got.Commit, tc.wantVersion, tc.wantCommit)
			}
		})
	}
}

func TestInfoInWords(t *testing.T) {
	info := Info{Version: "v1.2.3", GoVersion: "go1.26", Platform: "linux/amd64"}
	if got, want := info.String(), "v1.2.3 (unknown commit, go1.26, linux/amd64)"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got, want := info.UserAgent("csi"), "cloud-provider-vultr-csi/v1.2.3 (linux/amd64)"; got != want {
		t.Errorf("UserAgent() = %q, want %q", got, want)
	}
	if got := Get(); got.Version == "" || !strings.HasPrefix(got.GoVersion, "go") {
		t.Errorf("Get() = %+v", got)
	}
}
