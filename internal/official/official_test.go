package official

import "testing"

func TestFind(t *testing.T) {
	ours := []Container{{"csi-controller", "registry.example.com/csi-controller:v1"}, {"csi-provisioner", "csi-provisioner:v6"}}
	theirs := []Container{{"csi-provisioner", "csi-provisioner:v6"}, {"csi-vultr-plugin", "vultr/vultr-csi:v0.18.0"}}
	mirrored := []Container{{"csi-vultr-plugin", "registry.example.com/block-storage:1"}}
	both := []Container{ours[0], {"csi-vultr-plugin", "registry.example.com/vultr/vultr-csi:v0.18.0"}}
	set := "StatefulSet kube-system/csi-vultr-controller"
	for name, c := range map[string]struct {
		workload *Workload
		pods     []Pod
		want     string
	}{
		"nothing":                        {},
		"the official one":               {&Workload{Wanted: 1, Pods: 1, Containers: theirs}, []Pod{{Name: "csi-vultr-controller-0", Containers: theirs}}, set},
		"it has no pod yet":              {&Workload{Wanted: 1, Containers: theirs}, nil, set},
		"scaled down, a pod still ends":  {&Workload{Pods: 1, Containers: theirs}, nil, set},
		"scaled down":                    {&Workload{Containers: theirs}, nil, ""},
		"from another registry":          {&Workload{Wanted: 1, Containers: mirrored}, nil, set},
		"ours, by another kind":          {&Workload{Wanted: 2, Pods: 2, Containers: ours}, []Pod{{Name: "csi-vultr-controller-0", Containers: ours}}, ""},
		"both in one template":           {&Workload{Wanted: 1, Containers: both}, nil, set},
		"a pod that was left behind":     {nil, []Pod{{Name: "csi-vultr-controller-1", Containers: theirs}}, "Pod kube-system/csi-vultr-controller-1"},
		"one that runs beside ended one": {nil, []Pod{{Name: "a", Ended: true, Containers: theirs}, {Name: "b", Containers: mirrored}}, "Pod kube-system/b"},
		"scaled down, but left behind":   {&Workload{Containers: theirs}, []Pod{{Name: "csi-vultr-controller-0", Containers: theirs}}, "Pod kube-system/csi-vultr-controller-0"},
		"one that has ended":             {nil, []Pod{{Name: "a", Ended: true, Containers: theirs}}, ""},
		"pods of ours":                   {nil, []Pod{{Name: "a", Containers: ours}}, ""},
		"ours, with the official beside": {nil, []Pod{{Name: "a", Containers: both}}, "Pod kube-system/a"},
	} {
		got := ""
		if found := CSIController.Find(c.workload, c.pods); found != nil {
			got = found.String()
		}
		if got != c.want {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
	}
}

// TestPrograms: the image of each is its own, and our container is not taken for the other product's.
func TestPrograms(t *testing.T) {
	for _, c := range []struct {
		program    Program
		containers []Container
		want       bool
	}{
		{CCM, []Container{{"vultr-cloud-controller-manager", "vultr/vultr-cloud-controller-manager:v0.18.0"}}, true},
		{CCM, []Container{{"vultr-ccm", "mirror.example.com/vultr/vultr-cloud-controller-manager:v0.18.0"}}, true},
		{CCM, []Container{{"vultr-ccm", "cloud-provider-vultr/ccm:v1"}}, false},
		{CSIController, []Container{{"vultr-ccm", "cloud-provider-vultr/ccm:v1"}}, true},
		{CSIController, []Container{{"csi-controller", "cloud-provider-vultr/csi-controller:v1"}}, false},
	} {
		if got := c.program.Find(&Workload{Wanted: 1, Containers: c.containers}, nil) != nil; got != c.want {
			t.Errorf("%s %s with %v: official %t, want %t", c.program.Kind, c.program.Name, c.containers, got, c.want)
		}
	}
}

func TestIsImage(t *testing.T) {
	for image, want := range map[string]bool{
		"vultr/vultr-csi:v0.18.0": true, "registry.example.com/vultr/vultr-cloud-controller-manager@sha256:1": true,
		"cloud-provider-vultr/csi-controller:v1": false, "registry.example.com/vultr/ccm:v1": false, "": false,
	} {
		if got := IsImage(image); got != want {
			t.Errorf("%q: %t", image, got)
		}
	}
}
