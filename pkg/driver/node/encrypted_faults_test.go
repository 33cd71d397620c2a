//go:build faultpoints

package node_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/node"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
)

// envKey and envPrevious make TestEncryptedVictim the node plugin of an encrypted volume.
const (
	envKey      = "NODE_CRASH_KEY"
	envPrevious = "NODE_CRASH_PREVIOUS"
)

// TestEncryptedVictim is the process that TestEncryptedKilledAtEveryStep kills.
func TestEncryptedVictim(t *testing.T) {
	key := os.Getenv(envKey)
	if key == "" {
		t.Skip("only run by TestEncryptedKilledAtEveryStep")
	}
	dir := os.Getenv(envDir)
	r := &encryptedRig{
		rig:        &rig{t: t, dir: dir, staging: filepath.Join(dir, "staging"), target: filepath.Join(dir, "pod", "target")},
		capability: mountCapability(writer, os.Getenv(envFS)), published: publishContext,
	}
	if os.Getenv(envFS) == "raw" {
		r.capability = blockCapability(writer)
	}
	r.keys(key, os.Getenv(envPrevious))
	records, err := state.Open(filepath.Join(dir, "state"))
	r.must(err)
	step.SetDir(filepath.Join(dir, "steps"))
	finder := device.Finder{DeviceDir: os.Getenv(envDevices), SysfsDir: os.Getenv(envSysfs)}
	r.Service = node.New(node.Config{Finder: finder, State: records, BootID: bootID, Patience: time.Second})
	switch os.Getenv(envCrash) {
	case "up":
		r.up()
	case "down":
		r.must(r.unpublish(r.target))
		r.must(r.unstage())
	}
}

// encryptedVictim is an encrypted rig whose service is in a process of its own.
type encryptedVictim struct {
	*encryptedRig
	victim   *victim
	key, old string
}

func newEncryptedVictim(t *testing.T, fsType string) *encryptedVictim {
	r := newEncryptedRig(t, mountCapability(writer, "ext4"))
	v := &victim{rig: r.rig, fsType: fsType, steps: filepath.Join(r.dir, "steps")}
	r.must(os.Mkdir(v.steps, 0o700))
	e := &encryptedVictim{encryptedRig: r, victim: v, key: firstKey}
	v.encrypted = e.command
	return e
}

func (e *encryptedVictim) command(do string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestEncryptedVictim$")
	cmd.Env = append(os.Environ(), envCrash+"="+do, envDir+"="+e.dir, envFS+"="+e.victim.fsType, envKey+"="+e.key, envPrevious+"="+e.old,
		envDevices+"="+e.machine.DeviceDir, envSysfs+"="+e.machine.SysfsDir)
	return cmd
}

// TestEncryptedKilledAtEveryStep kills the node plugin before every step of an encrypted volume's way up and down, and has a
// new one do it all again: by the same records, and, where the header is whole, by none, as after a reboot or on another
// node. Whatever was killed, the volume comes up with what was written to it, and by the right passphrase only.
func TestEncryptedKilledAtEveryStep(t *testing.T) {
	up := []step.Name{
		step.IntentWrite, step.Encrypt, step.Encrypted, step.Open, step.Probe, step.MkfsFirst, step.MkfsHalf, step.MkfsDone, step.MarkUsed,
		step.Mount, step.IntentClear, step.Bind,
	}
	down := []step.Name{step.Unbind, step.Unmount, step.Flush, step.Close}
	some := map[string][]step.Name{ // where the kinds differ
		"xfs": {step.MkfsHalf, step.MkfsDone, step.Mount},
		"raw": {step.Open, step.MarkUsed, step.Bind, step.Flush, step.Close},
	}
	for _, fsType := range []string{"ext4", "xfs", "raw"} {
		for _, at := range slices.Concat(up, down) {
			if only, ok := some[fsType]; ok && !slices.Contains(only, at) {
				continue
			}
			for _, rebooted := range []bool{false, true} {
				t.Run(fsType+" "+string(at)+map[bool]string{true: ", rebooted"}[rebooted], func(t *testing.T) {
					v := newEncryptedVictim(t, fsType)
					if slices.Contains(down, at) {
						v.victim.do("up")
						v.put("data")
						v.victim.kill("down", at)
					} else {
						v.victim.kill("up", at)
					}
					if rebooted {
						v.reboot()
						v.must(os.RemoveAll(filepath.Join(v.dir, "state")))
						v.must(os.MkdirAll(filepath.Join(v.dir, "state"), 0o700))
					} else if slices.Contains(down, at) {
						v.victim.do("down")
						v.closed()
					}
					v.victim.do("up")
					if slices.Contains(down, at) && v.got(4) != "data" {
						t.Errorf("the data is gone, there is %q", v.got(4))
					}
					v.put("more")
					v.victim.do("down")
					v.closed()
					v.opens(map[luks.Passphrase]bool{firstKey: true, secondKey: false})
					v.victim.do("up")
					if got := v.got(4); got != "more" {
						t.Errorf("the data is gone, there is %q", got)
					}
					v.victim.do("down")
					if i, err := v.state.Intent(volumeID); err != nil || i != nil {
						t.Errorf("a record is left: %v, %v", i, err)
					}
				})
			}
		}
	}
}

// put writes to the volume, and got reads it.
func (e *encryptedVictim) put(text string) {
	e.t.Helper()
	path := e.target
	if e.victim.fsType != "raw" {
		path = filepath.Join(path, "file")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	e.must(err)
	_, err = file.WriteString(text)
	e.must(err)
	e.must(file.Sync())
	e.must(file.Close())
}

func (e *encryptedVictim) got(length int) string {
	e.t.Helper()
	path := e.target
	if e.victim.fsType != "raw" {
		path = filepath.Join(path, "file")
	}
	file, err := os.Open(path)
	e.must(err)
	defer file.Close() //nolint:errcheck // only read from
	raw := make([]byte, length)
	n, err := file.ReadAt(raw, 0)
	if n < length {
		e.t.Errorf("read %d bytes: %v", n, err)
	}
	return string(raw)
}

// TestKilledWhileThePassphraseIsChanged: at every moment one of the two passphrases opens the disk, and whoever comes after
// ends with the new one alone.
func TestKilledWhileThePassphraseIsChanged(t *testing.T) {
	for _, at := range []step.Name{step.KeyAdd, step.KeyProve, step.KeyRemove} {
		t.Run(string(at), func(t *testing.T) {
			v := newEncryptedVictim(t, "xfs")
			v.victim.do("up")
			v.put("data")
			v.victim.do("down")
			v.key, v.old = secondKey, firstKey
			v.victim.kill("up", at)
			v.opens(map[luks.Passphrase]bool{firstKey: true, secondKey: at != step.KeyAdd})
			v.victim.do("up")
			if got := v.got(4); got != "data" {
				t.Errorf("read %q", got)
			}
			v.opens(map[luks.Passphrase]bool{firstKey: false, secondKey: true})
			v.victim.do("down")
			v.closed()
		})
	}
}
