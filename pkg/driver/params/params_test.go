package params

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

type class = map[string]string

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		in   class
		disk volume.DiskType
		fs   string
		// warns are the keys that are warned about.
		warns []string
	}{
		"nothing":            {class{}, volume.NVMe, "", nil},
		"official nvme":      {class{"storage_type": "block", "disk_type": "nvme"}, volume.NVMe, "", nil},
		"official hdd":       {class{"storage_type": "block", "disk_type": "hdd"}, volume.HDD, "", nil},
		"values in any case": {class{"storage_type": "Block", "disk_type": "HDD"}, volume.HDD, "", nil},
		"empty values":       {class{"storage_type": "", "disk_type": "", "csi.storage.k8s.io/fstype": ""}, volume.NVMe, "", nil},
		"legacy hdd":         {class{"block_type": "storage_opt"}, volume.HDD, "", []string{"block_type"}},
		"legacy nvme":        {class{"block_type": "HIGH_PERF"}, volume.NVMe, "", []string{"block_type"}},
		"legacy empty":       {class{"block_type": "", "disk_type": "hdd"}, volume.HDD, "", []string{"block_type"}},
		"both agree":         {class{"block_type": "storage_opt", "disk_type": "hdd"}, volume.HDD, "", []string{"block_type"}},
		"file system":        {class{"csi.storage.k8s.io/fstype": "xfs"}, volume.NVMe, "xfs", nil},
		"bare fstype":        {class{"fstype": "xfs"}, volume.NVMe, "xfs", []string{"fstype"}},
		"bare fsType":        {class{"fsType": "ext4"}, volume.NVMe, "ext4", []string{"fsType"}},
		"bare FSTYPE":        {class{"FSTYPE": "xfs"}, volume.NVMe, "xfs", []string{"FSTYPE"}},
		"bare and prefixed":  {class{"fsType": "xfs", "csi.storage.k8s.io/fstype": "xfs"}, volume.NVMe, "xfs", []string{"fsType"}},
		"bare and empty":     {class{"fsType": "xfs", "csi.storage.k8s.io/fstype": ""}, volume.NVMe, "xfs", []string{"fsType"}},
		"metadata": {class{
			"csi.storage.k8s.io/pvc/name": "data", "csi.storage.k8s.io/pvc/namespace": "shop", "csi.storage.k8s.io/pv/name": "pvc-1",
		}, volume.NVMe, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(c.in, "")
			if err != nil {
				t.Fatal(err)
			}
			var warns []string
			for _, w := range got.Warnings {
				warns = append(warns, w.Key)
				if !strings.Contains(w.Text, fmt.Sprintf("%q is deprecated", w.Key)) {
					t.Errorf("the warning about %s is %q", w.Key, w.Text)
				}
			}
			if got.Kind != volume.Block || got.Type != c.disk || got.FSType != c.fs || !slices.Equal(warns, c.warns) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	all := []string{"storage_type", "disk_type", "csi.storage.k8s.io/fstype"}
	for name, c := range map[string]struct {
		in class
		// says and never are texts that the error must have and must not have.
		says, never []string
	}{
		"both contradict":      {class{"block_type": "high_perf", "disk_type": "hdd"}, []string{"contradict", "block_type", "disk_type"}, nil},
		"file systems differ":  {class{"fsType": "xfs", "csi.storage.k8s.io/fstype": "ext4"}, []string{"contradict", `"fsType"`, `"csi.storage.k8s.io/fstype" is enough`}, nil},
		"bare ones differ":     {class{"fsType": "xfs", "fstype": "ext4"}, []string{"contradict"}, nil},
		"wrong storage":        {class{"storage_type": "nfs"}, []string{"storage_type", "valid are block, vfs"}, nil},
		"wrong disk":           {class{"disk_type": "ssd"}, []string{"disk_type", "valid are nvme, hdd"}, nil},
		"wrong block":          {class{"block_type": "nvme"}, []string{"block_type", "high_perf, storage_opt"}, nil},
		"wrong fs":             {class{"csi.storage.k8s.io/fstype": "ntfs"}, []string{"ntfs", "ext4, xfs"}, nil},
		"wrong bare fs":        {class{"fsType": "ntfs"}, []string{`"fsType"`, "ntfs", "ext4, xfs"}, nil},
		"fs in capitals":       {class{"csi.storage.k8s.io/fstype": "XFS"}, []string{"XFS", "ext4, xfs"}, nil},
		"other case":           {class{"diskType": "hdd"}, []string{`"diskType"`, `mean "disk_type"`}, nil},
		"prefix in capitals":   {class{"csi.storage.k8s.io/fsType": "xfs"}, []string{`mean "csi.storage.k8s.io/fstype"`}, nil},
		"a separator":          {class{"fs_type": "xfs"}, []string{`mean "csi.storage.k8s.io/fstype"`}, nil},
		"a typo":               {class{"storage_typo": "block"}, []string{`mean "storage_type"`}, nil},
		"another word":         {class{"type": "high_perf"}, append([]string{`unknown parameter "type": valid are`}, all...), []string{"did you mean"}},
		"a short word":         {class{"fs": "xfs"}, all, []string{"did you mean"}},
		"an empty key":         {class{"": "xfs"}, all, []string{"did you mean"}},
		"another driver's key": {class{"encrypted": "true"}, append([]string{"encrypted"}, all...), []string{"did you mean"}},
		"region":               {class{"region": "ewr"}, []string{`"region"`}, []string{"did you mean"}},
		"all faults":           {class{"disk_type": "x", "storagetype": "y"}, []string{"storagetype", `"disk_type": "x"`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(c.in, "")
			if err == nil {
				t.Fatalf("got %+v", got)
			}
			if volume.ReasonOf(err) != volume.Invalid {
				t.Errorf("the error has reason %d", volume.ReasonOf(err))
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			for _, text := range c.never {
				if strings.Contains(err.Error(), text) {
					t.Errorf("%q says %q", err, text)
				}
			}
		})
	}
}

// TestWarningsSayWhatToWrite: the text is all that the owner of a class sees.
func TestWarningsSayWhatToWrite(t *testing.T) {
	got, err := Parse(class{"block_type": "storage_opt", "fsType": "xfs"}, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []Warning{
		{"block_type", `StorageClass parameter "block_type" is deprecated and still understood; a new class should have "disk_type": "hdd" instead`},
		{"fsType", `StorageClass parameter "fsType" is deprecated and still understood; a new class should have "csi.storage.k8s.io/fstype": "xfs" instead`},
	}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestClaim(t *testing.T) {
	const uid = "0f3c9c0e-9f5c-4b3e-8a53-4a6b1c8f0d11"
	told := class{"csi.storage.k8s.io/pvc/name": "data", "csi.storage.k8s.io/pvc/namespace": "shop"}
	for _, c := range []struct {
		name string
		in   class
		want events.Claim
	}{
		{"pvc-" + uid, told, events.Claim{Namespace: "shop", Name: "data", UID: uid}},
		{"pvc-0f3c9c0e", told, events.Claim{Namespace: "shop", Name: "data"}},
		{uid, told, events.Claim{Namespace: "shop", Name: "data"}},
		{"pvc-" + uid, nil, events.Claim{UID: uid}},
	} {
		if got := Claim(c.name, c.in); got != c.want {
			t.Errorf("%s with %v: %+v", c.name, c.in, got)
		}
	}
}

// TestEncryption: only the one value is understood, in its one spelling, and for disks only.
func TestEncryption(t *testing.T) {
	for value, valid := range map[string]bool{"luks2": true, "LUKS2": false, "luks": false, "luks1": false, "true": false} {
		got, err := Parse(class{"encryption": value}, "")
		if valid && (err != nil || got.Encryption != value) || !valid && (volume.ReasonOf(err) != volume.Invalid || !strings.Contains(err.Error(), "valid are luks2")) {
			t.Errorf("%q: %+v, %v", value, got, err)
		}
	}
	if got, err := Parse(class{"disk_type": "hdd"}, ""); err != nil || got.Encryption != "" {
		t.Errorf("unasked: %+v, %v", got, err)
	}
	if got, err := Parse(class{"encryption": "luks2", "storage_type": "vfs"}, ""); volume.ReasonOf(err) != volume.Invalid || !strings.Contains(err.Error(), `"encryption" is for storage type "block"`) {
		t.Errorf("for another kind of storage: %+v, %v", got, err)
	}
}

// TestTableIsSound: what the parser relies on.
func TestTableIsSound(t *testing.T) {
	for _, p := range Table {
		if p.Doc == "" || p.Since == "" || (len(p.Values) == 0) == (p.Range == Range{}) {
			t.Errorf("%s is incomplete: %+v", p.Key, p)
		}
		if found, ok := find(p.Key); !ok || found.Key != p.Key {
			t.Errorf("%s is not found", p.Key)
		}
		of := p
		if p.Replaced != "" {
			of, _ = find(p.Replaced)
			if of.Replaced != "" || p.Default != "" {
				t.Errorf("%s replaces %s, which is %+v", p.Replaced, p.Key, of)
			}
		}
		for _, v := range p.Values {
			if _, ok := of.value(v.meaning()); !ok {
				t.Errorf("%s: %s means nothing to %s", p.Key, v.Text, of.Key)
			}
		}
		if _, ok := p.value(p.Default); p.Default != "" && !ok {
			t.Errorf("%s: the default %s is not a value", p.Key, p.Default)
		}
	}
}

// reference is the table as the documentation shows it.
func reference() string {
	var b strings.Builder
	b.WriteString("| parameter | values | default | since | |\n|---|---|---|---|---|\n")
	for _, p := range Table {
		var values []string
		for _, v := range p.Values {
			if v.NotYet == "" {
				values = append(values, "`"+v.Text+"`")
			}
		}
		if p.Range != (Range{}) {
			values = []string{fmt.Sprintf("%d to %d", p.Range.Min, p.Range.Max)}
		}
		fallback, doc := "", p.Doc
		if len(p.For) > 0 {
			doc = strings.Join(p.For, ", ") + ": " + doc
		}
		if p.Default != "" {
			fallback = "`" + p.Default + "`"
		}
		if p.Replaced != "" {
			doc = "deprecated for `" + p.Replaced + "`: " + doc
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", p.Key, strings.Join(values, ", "), fallback, p.Since, doc)
	}
	return b.String()
}

// TestReference: the documentation has the table as it is.
func TestReference(t *testing.T) {
	content, err := os.ReadFile("../../../docs/block-volumes.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := reference(); !strings.Contains(string(content), "\n"+want+"\n") {
		t.Errorf("docs/block-volumes.md should have:\n%s", want)
	}
}
