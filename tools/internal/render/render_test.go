// Package render checks what kustomize makes of the directories under deploy/.
package render

import (
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const deploy = "../../../deploy/"

func render(t *testing.T, dir string) resmap.ResMap {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), deploy+dir)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func TestBasesRenderAloneAndTogether(t *testing.T) {
	ccm, csi, all := render(t, "manifests/ccm"), render(t, "manifests/csi"), render(t, "manifests")
	if ccm.Size() == 0 || csi.Size() == 0 || all.Size() != ccm.Size()+csi.Size() {
		t.Errorf("%d objects for the CCM, %d for CSI, %d together", ccm.Size(), csi.Size(), all.Size())
	}
}

func TestAnotherKubeletRootReachesEveryPath(t *testing.T) {
	base, moved := render(t, "manifests/csi"), render(t, "examples/kubelet-root")
	if base.Size() != moved.Size() {
		t.Errorf("%d objects became %d", base.Size(), moved.Size())
	}
	count := func(m resmap.ResMap, path string) int {
		text, err := m.AsYaml()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), path)
	}
	want := count(base, "/var/lib/kubelet")
	if left := count(moved, "/var/lib/kubelet"); left > 0 || want == 0 {
		t.Errorf("/var/lib/kubelet is there %d times, %d of %d left", want, left, want)
	}
	if got := count(moved, "/var/lib/k0s/kubelet"); got != want {
		t.Errorf("/var/lib/k0s/kubelet is there %d times, want %d", got, want)
	}
}
