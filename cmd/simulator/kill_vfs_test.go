package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// wantFileSystemsAsTheAPISays compares mounts and contents with the API's state.
func wantFileSystemsAsTheAPISays(t *testing.T, state string, view simulator.View) {
	t.Helper()
	var attached, all []string
	for _, f := range view.FileSystems {
		all = append(all, f.ID)
		for _, a := range f.Attachments {
			attached = append(attached, fmt.Sprintf("%s/vfs/%d", a.Instance, a.MountTag))
		}
	}
	slices.Sort(attached)
	slices.Sort(all)
	t.Logf("%d file systems with %d attachments", len(all), len(attached))
	var published []string
	for _, target := range mountsBelow(t, state) {
		if target, ok := strings.CutPrefix(target, filepath.Join(state, "instances")+"/"); ok && filepath.Base(target) != "vfs" {
			published = append(published, target)
		}
	}
	slices.Sort(published)
	if !slices.Equal(published, attached) {
		t.Errorf("mounts %v\nin the API: %v", published, attached)
	}
	if got := namesOf(t, filepath.Join(state, "filesystems", "*-*"), ""); !slices.Equal(got, all) {
		t.Errorf("contents of %v\nin the API: %v", got, all)
	}
}
