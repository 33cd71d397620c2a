// Package version says which build of the product this is. A released build is
// stamped by the linker:
//
//	go build -ldflags "-X github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version.version=v1.2.3"
//
// Any other build names itself by what the Go toolchain recorded of it.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version and commit are set by the linker; they are variables for that reason only.
var (
	version string
	commit  string
)

// Info describes a build.
type Info struct {
	// Version is the release, "devel" for a build that has none.
	Version string
	// Commit is the commit's hash, with "-dirty" if the tree had changes;
	// empty when nobody recorded it.
	Commit string
	// GoVersion is the toolchain's version.
	GoVersion string
	// Platform is "os/arch".
	Platform string
}

// Get describes the running program.
func Get() Info {
	build, _ := debug.ReadBuildInfo() // nil outside module mode: describe copes
	return describe(version, commit, build)
}

// String is the one line that --version prints.
func (i Info) String() string {
	at := i.Commit
	if at == "" {
		at = "unknown commit"
	}
	return fmt.Sprintf("%s (%s, %s, %s)", i.Version, at, i.GoVersion, i.Platform)
}

// UserAgent is what the program calls itself in API requests.
func (i Info) UserAgent(program string) string {
	return fmt.Sprintf("cloud-provider-vultr-%s/%s (%s)", program, i.Version, i.Platform)
}

// describe prefers what the linker stamped over what the toolchain recorded.
func describe(version, commit string, build *debug.BuildInfo) Info {
	info := Info{
		Version: version, Commit: commit,
		GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if build == nil {
		build = &debug.BuildInfo{}
	}
	settings := map[string]string{}
	for _, s := range build.Settings {
		settings[s.Key] = s.Value
	}
	if info.Commit == "" {
		info.Commit = settings["vcs.revision"]
		if info.Commit != "" && settings["vcs.modified"] == "true" {
			info.Commit += "-dirty"
		}
	}
	if info.Version == "" {
		info.Version = build.Main.Version
	}
	if info.Version == "" || info.Version == "(devel)" {
		info.Version = "devel"
	}
	return info
}
