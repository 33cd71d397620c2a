package blockstage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const foreign = "ewr-be6c4452b93b4f"

// showMapper shows a disk in sysfs once more, as a device of device-mapper that was made of it.
func showMapper(t *testing.T, m *testmachine.Machine, entry, name, disk string, top device.Number) {
	t.Helper()
	dir := filepath.Join(m.SysfsDir, entry)
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "dm"), 0o700), os.MkdirAll(filepath.Join(dir, "slaves"), 0o700),
		os.WriteFile(filepath.Join(dir, "dm", "name"), []byte(name+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "dev"), []byte(top.String()+"\n"), 0o600),
		os.Symlink(filepath.Join(m.SysfsDir, disk), filepath.Join(dir, "slaves", disk)),
		unix.Mknod(filepath.Join(m.DeviceDir, entry), unix.S_IFBLK|0o600, int(unix.Mkdev(top.Major, top.Minor))), //nolint:gosec // small
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(os.RemoveAll(dir), os.Remove(filepath.Join(m.DeviceDir, entry))); err != nil {
			t.Error(err)
		}
	})
}

// TestOpened: a device is the volume's when it has the name of this stay of the disk, and is made of the disk.
func TestOpened(t *testing.T) {
	for name, c := range map[string]struct {
		named func(device.Device) string
		other bool // it is made of another disk
		want  bool
	}{
		"the volume's":       {func(d device.Device) string { return mapperName(id, d) }, false, true},
		"on another disk":    {func(d device.Device) string { return mapperName(id, d) }, true, false},
		"of an earlier stay": {func(d device.Device) string { d.Seq--; return mapperName(id, d) }, false, false},
		"of another volume":  {func(d device.Device) string { return mapperName("be6c4452-b93b-4f4d-b8c1-2cea28d99fb8", d) }, false, false},
		"of a longer name":   {func(d device.Device) string { return mapperName(id, d) + "0" }, false, false},
		"of somebody's own":  {func(device.Device) string { return "somebody" }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, m, d := newStager(t)
			m.Plug("foreign", foreign, gib)
			under, top := d, m.Device(foreign)
			if c.other {
				under, top = m.Device(foreign), d
			}
			showMapper(t, m, "dm-7", c.named(d), filepath.Base(under.Path), top.Number)
			got, err := s.layer.Opened(id, d)
			switch {
			case c.want && (err != nil || got.Path != filepath.Join(m.DeviceDir, "dm-7") || got.Serial != serial || got.Seq != d.Seq):
				t.Errorf("got %+v, %v", got, err)
			case !c.want && !errors.Is(err, errClosed):
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// TestDiskReplacedBeforeItsEncryption has a blank disk judged, taken away, and one with data get its name and number before
// its header is made, as can happen while others are being encrypted.
func TestDiskReplacedBeforeItsEncryption(t *testing.T) {
	s, m, judged := newStager(t)
	m.Unplug("disk")
	m.Plug("full", foreign, 64<<20)
	d := m.Device(foreign)
	run(t, "mkfs.ext4", "-q", "-L", "precious", d.Path)
	judged.Path, judged.Number = d.Path, d.Number
	v := staging.Volume{ID: id, Encryption: luks.Name, Keys: luks.Keys{Current: "passphrase"}}
	err := s.cfg.Work.Do(t.Context(), id, StageCall, func(task *longwork.Task) error { return s.unlock(task, v, judged, true) })
	if volume.ReasonOf(err) != volume.InUse {
		t.Errorf("got %v", err)
	}
	if label := run(t, "e2label", d.Path); label != "precious\n" {
		t.Errorf("the other disk was encrypted, its label is %q", label)
	}
}

// TestUnreadableIsNotPlain: a disk of which nobody can read whether it is encrypted is not given to a pod as it is.
func TestUnreadableIsNotPlain(t *testing.T) {
	s, _, d := newStager(t)
	if err := refuseOurs(d); err != nil {
		t.Errorf("a blank disk: %v", err)
	}
	if err := s.layer.crypt.Format(t.Context(), d.Path, id, "passphrase"); err != nil {
		t.Fatal(err)
	}
	if err := refuseOurs(d); volume.ReasonOf(err) != volume.InUse {
		t.Errorf("an encrypted disk: %v", err)
	}
	d.Path += "-away"
	if err := refuseOurs(d); volume.ReasonOf(err) != volume.Busy {
		t.Errorf("a disk that cannot be opened: %v", err)
	}
}

// TestDiscardsThroughEncryption: what the mount options ask for has to get through to the disk, however it is spelled.
func TestDiscardsThroughEncryption(t *testing.T) {
	for options, want := range map[string]bool{"": false, "noatime,nodiscard": false, "noatime,discard": true, "discard=async": true, "discard=sync,ssd": true} {
		if got := wantsDiscards(strings.Split(options, ",")); got != want {
			t.Errorf("%q: %t", options, got)
		}
	}
}
