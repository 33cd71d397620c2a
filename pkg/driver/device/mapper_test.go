package device_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// TestMapper reads a sysfs as a machine with device-mapper has it.
func TestMapper(t *testing.T) {
	m := newMachine(t)
	disk := m.plug("one", wanted)
	d := m.Device(wanted)
	set := func(path, text string) {
		t.Helper()
		path = filepath.Join(m.SysfsDir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	number := device.Number{Major: 254, Minor: 3}
	set("dm-3/dm/name", "mine-1\n")
	set("dm-3/dev", number.String()+"\n")
	set("dm-4/dm/name", "another\n")
	set("dm-4/dev", "254:4\n")
	set("dm-5/dm/name", "mine-2\n") // which is just leaving
	link := filepath.Join(m.SysfsDir, "dm-3", "slaves", disk)
	if err := errors.Join(os.Mkdir(filepath.Dir(link), 0o700), os.Symlink(filepath.Join("..", "..", disk), link)); err != nil {
		t.Fatal(err)
	}

	all, err := m.Mappers("mine-")
	if err != nil || len(all) != 1 || all[0].Name != "mine-1" || all[0].Number != number || all[0].Path != filepath.Join(m.DeviceDir, "dm-3") {
		t.Fatalf("found %+v, %v", all, err)
	}
	if at, err := m.MapperAt(number); err != nil || at == nil || *at != all[0] {
		t.Errorf("by number: %+v, %v", at, err)
	}
	if at, err := m.MapperAt(d.Number); err != nil || at != nil {
		t.Errorf("a disk: %+v, %v", at, err)
	}
	if at, err := m.MapperAt(device.Number{Major: 254, Minor: 9}); !errors.Is(err, device.ErrNotFound) {
		t.Errorf("nothing: %+v, %v", at, err)
	}
	below, err := m.Below(all[0])
	if err != nil || below.Number != d.Number || below.Path != d.Path || below.Seq != d.Seq {
		t.Errorf("below is %+v, %v, want %+v", below, err, d)
	}

	other := filepath.Join(filepath.Dir(link), "other")
	if err := os.Symlink(filepath.Join("..", "..", disk), other); err != nil {
		t.Fatal(err)
	}
	if below, err := m.Below(all[0]); err == nil {
		t.Errorf("below two devices is %+v", below)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	m.Unplug("one") // the link leads nowhere
	if below, err := m.Below(all[0]); !errors.Is(err, device.ErrGone) {
		t.Errorf("below is %+v, %v", below, err)
	}
	// Another disk by the same name in sysfs is no disk either while its number is not in the list.
	set(disk+"-away/dev", "254:77\n")
	if err := errors.Join(os.Remove(link), os.Symlink(filepath.Join("..", "..", disk+"-away"), link)); err != nil {
		t.Fatal(err)
	}
	below, err = m.Below(all[0])
	if err == nil {
		t.Errorf("a disk that cannot be opened is %+v", below)
	}
	for _, name := range []string{"dm-3", "dm-4", "dm-5", disk + "-away"} {
		if err := os.RemoveAll(filepath.Join(m.SysfsDir, name)); err != nil {
			t.Fatal(err)
		}
	}
}
