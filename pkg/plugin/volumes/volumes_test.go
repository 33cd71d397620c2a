package volumes_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/volumes"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	disk     = "0a000000-0000-4000-8000-000000000001"
	shared   = "0a000000-0000-4000-8000-000000000002"
	machine  = "0b000000-0000-4000-8000-000000000001"
	stranger = "0b000000-0000-4000-8000-000000000002"
)

func pv(name, handle string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PersistentVolumeSpec{
			Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse("10Gi")}, ClaimRef: &v1.ObjectReference{Namespace: "shop", Name: "data"},
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{Driver: "block.csi.vultr.com", VolumeHandle: handle}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
}

func attachment(pv, node string) *storagev1.VolumeAttachment {
	return &storagev1.VolumeAttachment{
		Spec:   storagev1.VolumeAttachmentSpec{NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &pv}},
		Status: storagev1.VolumeAttachmentStatus{Attached: true},
	}
}

// world is a disk that is attached to a node, as it should be.
func world() volumes.Input {
	return volumes.Input{
		PVs:         []*v1.PersistentVolume{pv("pv", disk)},
		Attachments: []*storagev1.VolumeAttachment{attachment("pv", "a")},
		Nodes:       []*v1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: v1.NodeSpec{ProviderID: "vultr://" + machine}}},
		Blocks:      []vultr.Volume{{ID: disk, Label: "pvc-1", Region: "ewr", SizeGB: 10, Status: "active", AttachedTo: machine, MountID: "ewr-0a", MonthlyCost: 1}},
		FileSystems: []vultr.FileSystem{{ID: shared, SizeGB: 10, MonthlyCost: 2}},
	}
}

func TestShow(t *testing.T) {
	tests := map[string]struct {
		change      func(*volumes.Input)
		attachments []volumes.Attachment
		problems    []string // what each begins with
	}{
		"as it should be": {nil, []volumes.Attachment{{Instance: machine, Node: "a", Wanted: true, Device: "ewr-0a"}}, nil},
		"another case of the ID": {
			func(in *volumes.Input) { in.PVs[0] = pv("pv", strings.ToUpper(disk)) },
			[]volumes.Attachment{{Instance: machine, Node: "a", Wanted: true, Device: "ewr-0a"}},
			nil,
		},
		"detached":      {func(in *volumes.Input) { in.Attachments, in.Blocks[0].AttachedTo = nil, "" }, nil, nil},
		"not there yet": {func(in *volumes.Input) { in.Blocks[0].AttachedTo = "" }, []volumes.Attachment{{Node: "a", Wanted: true}}, nil},
		"nobody wants it there": {
			func(in *volumes.Input) { in.Attachments = nil },
			[]volumes.Attachment{{Instance: machine, Node: "a", Device: "ewr-0a"}},
			[]string{"it is attached to node a, and Kubernetes does not want it there"},
		},
		"being taken off": {
			func(in *volumes.Input) { in.Attachments[0].DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} },
			[]volumes.Attachment{{Instance: machine, Node: "a", Device: "ewr-0a"}},
			[]string{"it is attached to node a, and Kubernetes does not want it there"},
		},
		"at a stranger": {
			func(in *volumes.Input) { in.Blocks[0].AttachedTo = stranger },
			[]volumes.Attachment{{Instance: stranger, Device: "ewr-0a"}, {Node: "a", Wanted: true}},
			[]string{"it is attached to instance " + stranger},
		},
		"the attach fails": {func(in *volumes.Input) {
			in.Blocks[0].AttachedTo = ""
			in.Attachments[0].Status = storagev1.VolumeAttachmentStatus{AttachError: &storagev1.VolumeError{Message: "locked"}}
		}, []volumes.Attachment{{Node: "a", Wanted: true}}, []string{"attaching to node a fails: locked"}},
		"gone":    {func(in *volumes.Input) { in.Blocks = nil }, []volumes.Attachment{{Node: "a", Wanted: true}}, []string{"the account has no such volume"}},
		"smaller": {func(in *volumes.Input) { in.Blocks[0].SizeGB = 9 }, []volumes.Attachment{{Instance: machine, Node: "a", Wanted: true, Device: "ewr-0a"}}, []string{"it has 9 GiB on the platform"}},
		"larger":  {func(in *volumes.Input) { in.Blocks[0].SizeGB = 11 }, []volumes.Attachment{{Instance: machine, Node: "a", Wanted: true, Device: "ewr-0a"}}, nil},
		"released": {func(in *volumes.Input) {
			in.PVs[0].Status.Phase = v1.VolumeReleased
			in.Attachments, in.Blocks[0].AttachedTo = nil, ""
		}, nil, []string{"no claim uses it (Released)"}},
		"shared": {func(in *volumes.Input) {
			in.PVs[0] = pv("pv", shared)
			in.Shared = map[string][]vultr.FileSystemAttachment{shared: {{InstanceID: machine, MountTag: "17"}, {InstanceID: stranger, MountTag: "17"}}}
		}, []volumes.Attachment{{Instance: stranger, Device: "17"}, {Instance: machine, Node: "a", Wanted: true, Device: "17"}}, []string{"it is attached to instance " + stranger}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := world()
			if test.change != nil {
				test.change(&in)
			}
			shown := volumes.Show(in)
			if len(shown) != 1 {
				t.Fatalf("got %+v", shown)
			}
			v := shown[0]
			if !slices.Equal(v.Attachments, test.attachments) {
				t.Errorf("attachments %+v, want %+v", v.Attachments, test.attachments)
			}
			fits := slices.EqualFunc(v.Problems, test.problems, func(p volumes.Problem, want string) bool { return strings.HasPrefix(p.Problem, want) && p.Remedy != "" })
			if !fits || volumes.Trouble(shown) != (len(test.problems) > 0) {
				t.Errorf("problems %+v, want %q", v.Problems, test.problems)
			}
		})
	}
}

func TestTwoOfOneVolume(t *testing.T) {
	in := world()
	in.PVs = append(in.PVs, pv("copy", disk))
	shown := volumes.Show(in)
	if len(shown) != 2 || !strings.Contains(shown[0].Problems[0].Problem, "copy, pv name the same volume") {
		t.Errorf("got %+v", shown)
	}
	if cost := volumes.Cost(shown); cost != 1 {
		t.Errorf("it costs %v, want 1: it is paid for once", cost)
	}
}

func TestNamespace(t *testing.T) {
	in := world()
	free := pv("free", shared)
	free.Spec.ClaimRef = nil
	in.PVs = append(in.PVs, free)
	for namespace, want := range map[string]int{"": 2, "shop": 1, "other": 0} {
		in.Namespace = namespace
		if shown := volumes.Show(in); len(shown) != want {
			t.Errorf("namespace %q: %+v", namespace, shown)
		}
	}
}

func TestTable(t *testing.T) {
	in := world()
	in.PVs = append(in.PVs, pv("lost", stranger))
	shown := volumes.Show(in)
	var out strings.Builder
	if err := report.Write(&out, report.Table, nil, func(tab *report.Tab) { volumes.Table(tab, shown) }); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"shop/data", "ewr-0a", "2 PersistentVolumes, 1.00 dollars a month", "lost: the account has no such volume. What to do: "} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("the table lacks %q:\n%s", text, out.String())
		}
	}
}
