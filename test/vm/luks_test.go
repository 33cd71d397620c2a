package vm

import (
	"bytes"
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
)

// The passphrases have a word that must not be seen anywhere.
const (
	firstKey  = "first-CANARY"
	secondKey = "second-CANARY"
	thirdKey  = "third-CANARY"
)

// encrypted makes a volume encrypted, with the present passphrase and the previous one, "" for none.
func (r *rig) encrypted(current, previous string) *rig {
	r.context = map[string]string{"encryption": "luks2"}
	r.secrets = map[string]string{"encryption-passphrase": current}
	if previous != "" {
		r.secrets["encryption-passphrase-previous"] = previous
	}
	return r
}

// cryptsetup is the command by which a person uses cryptsetup in the guest.
func cryptsetup(args ...string) []string {
	return append([]string{"cryptsetup", "--batch-mode", "--disable-locks"}, args...)
}

// opens checks which passphrases open the disk, by cryptsetup itself.
func (r *rig) opens(passphrases map[string]bool) {
	r.t.Helper()
	for p, want := range passphrases {
		r.must(shared.agent.Write(r.soon(), "/run/key", []byte(p)))
		result, err := shared.agent.Run(r.soon(), cryptsetup("open", "--test-passphrase", "--key-file=/run/key", r.device())...)
		r.must(err)
		if (result.Code == 0) != want {
			r.t.Errorf("%q opens the disk: want %t, got %d: %s", p, want, result.Code, result.Output)
		}
	}
}

// reboot ends the plugin and everything that it has mounted, open or recorded, as the loss of the machine does: the disk goes
// to another one.
func (r *rig) reboot() {
	r.t.Helper()
	r.must(shared.agent.KillPlugin(r.soon()))
	r.must(shared.agent.Forget(r.soon()))
	for _, m := range r.mappers() {
		r.run(cryptsetup("close", m)...)
	}
	r.must(shared.agent.StartPlugin(r.soon()))
}

// mappers lists what is open on disks of the volume, by name.
func (r *rig) mappers() []string {
	r.t.Helper()
	var names []string
	for name := range strings.FieldsSeq(r.run("lsblk", "--noheadings", "--raw", "--output=NAME")) {
		if strings.HasPrefix(name, "csi-vultr-"+r.id+"-") {
			names = append(names, name)
		}
	}
	return names
}

// closed checks that nothing is open on the volume's disk.
func (r *rig) closed() {
	r.t.Helper()
	if open := r.mappers(); len(open) > 0 {
		r.t.Errorf("still open are %q", open)
	}
}

// onDisk reports whether the text can be read from the disk.
func (r *rig) onDisk(text string) bool {
	r.t.Helper()
	chunk := make([]byte, 4<<20)
	for at := int64(0); at < gib; at += int64(len(chunk)) {
		n, err := r.disk.ReadAt(chunk, at)
		if n < len(chunk) {
			r.must(err)
		}
		if bytes.Contains(chunk, []byte(text)) {
			return true
		}
	}
	return false
}

func (r *rig) up() {
	r.t.Helper()
	r.must(r.stage())
	r.must(r.publish(r.target))
}

func (r *rig) down() {
	r.t.Helper()
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
	r.closed()
}

// TestEncrypted is the life of an encrypted volume: every call twice, a reboot in the middle, another stay of the disk, as on
// another node, wrong passphrases, growth, and no byte of what was written to be read from the disk.
func TestEncrypted(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType)).encrypted(firstKey, "")
			r.plug()
			for range 2 {
				r.up()
			}
			r.write(r.target, "file", "the data")
			want(t, r.unstage(), codes.FailedPrecondition, r.target)
			for range 2 {
				r.down()
			}
			r.opens(map[string]bool{firstKey: true, secondKey: false})
			if r.onDisk("the data") || !r.onDisk("LUKS") {
				t.Error("what was written can be read from the disk, or the disk cannot")
			}

			r.up()
			r.reboot()
			r.up()
			r.wantFile(r.target, "file", "the data")
			r.down()

			r.encrypted(secondKey, "")
			want(t, r.stage(), codes.Unauthenticated, r.serial, "passphrase", "nothing was changed")
			r.closed()
			r.encrypted("", "")
			want(t, r.stage(), codes.InvalidArgument, "encryption-passphrase", "node-stage-secret-name")
			r.secrets = nil
			want(t, r.stage(), codes.InvalidArgument, "encryption-passphrase", "node-stage-secret-name")
			r.encrypted(firstKey, "")
			r.unplug()
			r.must(r.disk.Resize(2 * gib))
			r.plug()
			r.device()
			r.up()
			r.wantFile(r.target, "file", "the data")
			total, err := r.total(r.target)
			r.must(err)
			if total < 2*gib*9/10-16<<20 {
				t.Errorf("grown to 2 GiB elsewhere, it has %d bytes", total)
			}
			r.down()
			log, err := shared.agent.Read(r.soon(), guest.PluginLog)
			r.must(err)
			if strings.Contains(string(log), "CANARY") || !strings.Contains(string(log), r.id) {
				t.Error("a passphrase is in the plugin's log, or nothing is")
			}
		})
	}
}

// TestEncryptionAskedForAndNot: plain where encryption was asked for, and the reverse, are refused with words, and nothing is
// written to the disk.
func TestEncryptionAskedForAndNot(t *testing.T) {
	plain := newRig(t, mounted("ext4"))
	plain.plug()
	plain.up()
	plain.write(plain.target, "file", "data")
	plain.encrypted(firstKey, "")
	want(t, plain.stage(), codes.Unavailable, "staged without encryption")
	plain.context = nil
	want(t, plain.stage(), codes.InvalidArgument, "encryption: luks2")
	plain.secrets = nil
	plain.down()
	plain.encrypted(firstKey, "")
	want(t, plain.stage(), codes.FailedPrecondition, "holds ext4 and is not encrypted")
	plain.context, plain.secrets = nil, nil
	plain.up()
	plain.wantFile(plain.target, "file", "data")

	r := newRig(t, mounted("ext4")).encrypted(firstKey, "")
	r.plug()
	r.up()
	r.write(r.target, "file", "data")
	r.down()
	r.context, r.secrets = nil, nil
	want(t, r.stage(), codes.FailedPrecondition, "encryption: luks2")
	r.capability = raw()
	want(t, r.stage(), codes.FailedPrecondition, "encryption: luks2")
	r.capability = mounted("ext4")
	r.encrypted(firstKey, "")
	r.up()
	r.wantFile(r.target, "file", "data")
	r.down()

	// A volume that was made from something is never encrypted, only opened.
	source := newRig(t, mounted("ext4")).encrypted(firstKey, "")
	source.plug()
	source.context["block.csi.vultr.com/content-source"] = "snapshot/" + uuid.NewString()
	want(t, source.stage(), codes.FailedPrecondition, "source")
	source.closed()
}

// TestEncryptedGrowsWhileMounted: the disk grows under an open file system. That takes the passphrase.
func TestEncryptedGrowsWhileMounted(t *testing.T) {
	const size = 3 * gib
	for _, capability := range []*csi.VolumeCapability{mounted("ext4"), mounted("xfs"), mounted("btrfs"), raw()} {
		t.Run(cmp.Or(capability.GetMount().GetFsType(), "raw"), func(t *testing.T) {
			r := newRig(t, capability).encrypted(firstKey, "")
			r.plug()
			r.up()
			r.must(shared.machine.Resize(r.soon(), r.disk, size))
			r.secrets = nil
			_, err := r.expand(r.target, size)
			want(t, err, codes.FailedPrecondition, "node-expand-secret-name")
			r.encrypted(secondKey, "")
			_, err = r.expand(r.target, size)
			want(t, err, codes.Unauthenticated, "passphrase")
			r.encrypted(firstKey, "")
			for range 2 {
				if got, err := r.expand(r.target, size); err != nil || got != size {
					t.Errorf("it grew to %d, %v", got, err)
				}
			}
			r.secrets = nil
			if got, err := r.expand(r.target, size); err != nil || got != size {
				t.Errorf("what has grown takes a passphrase: %d, %v", got, err)
			}
			total, err := r.total(r.target)
			r.must(err)
			if total < (size-16<<20)*9/10 {
				t.Errorf("it has %d bytes of %d", total, size)
			}
			r.encrypted(firstKey, "")
			r.down()
		})
	}
}

// TestPassphraseIsChanged: the new passphrase replaces the previous one when the volume is staged.
func TestPassphraseIsChanged(t *testing.T) {
	r := newRig(t, mounted("ext4")).encrypted(firstKey, "")
	r.plug()
	r.filledAndDown()
	r.encrypted(secondKey, firstKey)
	r.up()
	r.opens(map[string]bool{firstKey: false, secondKey: true})
	r.intact(r.target)
	r.down()
}

// TestPassphraseIsChangedOnlyThen: nothing but staging to write, with a previous passphrase that is right, changes anything, and
// it changes nothing but that passphrase.
func TestPassphraseIsChangedOnlyThen(t *testing.T) {
	r := newRig(t, mounted("xfs")).encrypted(firstKey, "")
	r.plug()
	r.up()
	r.write(r.target, "file", "data")
	r.down()
	r.encrypted(secondKey, thirdKey)
	want(t, r.stage(), codes.Unauthenticated, "passphrase")
	r.opens(map[string]bool{firstKey: true, secondKey: false, thirdKey: false})

	// What only reads changes nothing.
	r.capability.AccessMode.Mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	r.encrypted(secondKey, firstKey)
	r.up()
	r.wantFile(r.target, "file", "data")
	r.down()
	r.opens(map[string]bool{firstKey: true, secondKey: false})

	r.capability = mounted("xfs")
	for range 2 {
		r.up()
		r.opens(map[string]bool{firstKey: false, secondKey: true})
		r.wantFile(r.target, "file", "data")
		r.down()
	}
	r.encrypted(firstKey, "")
	want(t, r.stage(), codes.Unauthenticated, "passphrase")

	// A key slot of somebody's own stays.
	r.must(shared.agent.Write(r.soon(), "/run/old", []byte(secondKey)))
	r.must(shared.agent.Write(r.soon(), "/run/own", []byte(thirdKey)))
	r.run(cryptsetup("luksAddKey", "--pbkdf-memory=65536", "--pbkdf-force-iterations=4", "--key-file=/run/old", r.device(), "/run/own")...)
	r.encrypted(firstKey, secondKey)
	r.up()
	r.wantFile(r.target, "file", "data")
	r.opens(map[string]bool{firstKey: true, secondKey: false, thirdKey: true})
	r.down()
}

// TestEncryptedRawBlock: a pod has what is inside as a device, also after its disk was plugged in again, and nobody has the
// disk itself.
func TestEncryptedRawBlock(t *testing.T) {
	r := newRig(t, raw()).encrypted(firstKey, "")
	r.plug()
	for range 2 {
		r.up()
	}
	p := r.open(r.target, "")
	if errno := p.write("written"); errno != 0 {
		t.Fatal(errno)
	}
	if total, err := r.total(r.target); err != nil || total != gib-16<<20 {
		t.Errorf("it has %d bytes, %v", total, err)
	}
	p.end()
	r.down()
	reads := func() {
		t.Helper()
		got, err := shared.agent.Read(r.soon(), r.target)
		r.must(err)
		if !strings.HasPrefix(string(got), "written") {
			t.Errorf("read %q", got[:10])
		}
	}
	r.encrypted(secondKey, "")
	want(t, r.stage(), codes.Unauthenticated, "passphrase")
	r.closed()
	want(t, r.publish(r.target), codes.FailedPrecondition, "not staged")

	// What is inside is somebody's now, and no file system is made of it.
	r.encrypted(firstKey, "")
	r.capability = mounted("ext4")
	want(t, r.stage(), codes.FailedPrecondition, "nothing recognises")
	r.closed()
	r.capability = raw()
	r.up()
	reads()
	r.reboot()
	r.up()
	reads()
	r.down()
}

// TestEncryptedReplugged: the disk goes while a pod has a file open, and comes back. The old pod gets errors for as long as it
// lives, and keeps nobody from the volume.
func TestEncryptedReplugged(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType)).encrypted(firstKey, "")
			r.plug()
			r.up()
			r.write(r.target, "file", "data")
			p := r.open(r.target, "held")
			r.unplug()
			if errno := p.write("lost"); errno == 0 {
				t.Error("a disk that is gone was written to")
			}
			_, err := r.total(r.target)
			want(t, err, codes.FailedPrecondition, "unplugged")
			r.plug()
			r.device()
			// A call to publish has no passphrase.
			for range 2 {
				want(t, r.publish(r.target), codes.FailedPrecondition, "staged again")
			}
			r.up()
			r.wantFile(r.target, "file", "data")
			p.end()
			r.down()
		})
	}
}

// TestEncryptedOpenTwice: what somebody else opened of the disk is in use, and nothing is opened beside it.
func TestEncryptedOpenTwice(t *testing.T) {
	r := newRig(t, mounted("ext4")).encrypted(firstKey, "")
	r.plug()
	r.up()
	r.down()
	r.must(shared.agent.Write(r.soon(), "/run/key", []byte(firstKey)))
	r.run(cryptsetup("open", "--key-file=/run/key", r.device(), "somebody")...)
	want(t, r.stage(), codes.FailedPrecondition, "somebody", r.serial)
	r.closed()
	r.run(cryptsetup("close", "somebody")...)
	r.up()
	r.down()
}

// TestEncryptedCopyBesideItsSource: a copy, with the header of its source and so with its UUID, is open beside it.
func TestEncryptedCopyBesideItsSource(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t, mounted(fsType)).encrypted(firstKey, "")
			r.plug()
			r.up()
			r.write(r.target, "file", "data")
			r.down()
			c := newRig(t, mounted(fsType)).encrypted(firstKey, "")
			r.must(c.disk.Close())
			var err error
			c.disk, err = r.disk.Copy(c.serial, 2*gib)
			r.must(err)
			c.context["block.csi.vultr.com/content-source"] = "volume/" + r.id
			c.target += "-copy"
			r.up()
			r.write(r.target, "file", "source")
			c.plug()
			c.up()
			uuid := r.run(cryptsetup("luksUUID", r.device())...)
			if copied := c.run(cryptsetup("luksUUID", c.device())...); copied != uuid {
				t.Errorf("the copy has the UUID %s, not %s", copied, uuid)
			}
			c.wantFile(c.target, "file", "data")
			if total, err := c.total(c.target); err != nil || total < 2*gib*9/10-16<<20 {
				t.Errorf("the copy has %d bytes, %v", total, err)
			}
			c.write(c.target, "file", "copy")
			r.wantFile(r.target, "file", "source")
			r.down()
			r.encrypted(secondKey, firstKey)
			r.up() // beside the copy
			r.wantFile(r.target, "file", "source")
			r.down()
			c.wantFile(c.target, "file", "copy")
			c.down()
			c.opens(map[string]bool{firstKey: true, secondKey: false})
		})
	}
}

// TestEncryptedReadOnly: what the controller published read-only can be written neither on the disk nor on what is open on it,
// until it is unstaged.
func TestEncryptedReadOnly(t *testing.T) {
	r := newRig(t, mounted("ext4")).encrypted(firstKey, "")
	r.plug()
	r.up()
	r.write(r.target, "file", "data")
	r.down()
	r.readOnly = true
	r.up()
	r.wantFile(r.target, "file", "data")
	for _, node := range []string{r.device(), "/dev/mapper/" + r.mappers()[0]} {
		if got := strings.TrimSpace(r.run("blockdev", "--getro", node)); got != "1" {
			t.Errorf("%s is read-only: %s", node, got)
		}
	}
	r.down()
	if got := strings.TrimSpace(r.run("blockdev", "--getro", r.device())); got != "0" {
		t.Errorf("unstaged, the disk is read-only: %s", got)
	}
	r.readOnly = false
	r.up()
	r.write(r.target, "more", "data")
	r.down()
}

// TestEncryptedStageCost compares the first staging with the bare commands. The figure is for the log; what fails is a
// staging that takes twice as long.
func TestEncryptedStageCost(t *testing.T) {
	bare := newRig(t, mounted("ext4"))
	bare.plug()
	device := bare.device()
	bare.must(shared.agent.Write(bare.soon(), "/run/key", []byte(firstKey)))
	began := time.Now()
	bare.run(cryptsetup("luksFormat", "--type=luks2", "--pbkdf=argon2id", "--pbkdf-memory=65536", "--pbkdf-parallel=4", "--pbkdf-force-iterations=4",
		"--key-file=/run/key", device)...)
	bare.run(cryptsetup("open", "--key-file=/run/key", device, "bare")...)
	bare.run("mkfs.ext4", "-q", "/dev/mapper/bare")
	took := time.Since(began)
	bare.run(cryptsetup("close", "bare")...)

	r := newRig(t, mounted("ext4")).encrypted(firstKey, "")
	r.plug()
	r.device()
	began = time.Now()
	r.must(r.stage())
	staged := time.Since(began)
	t.Logf("staging took %.1f s, luksFormat, open and mkfs %.1f s: %.2f times as long", staged.Seconds(), took.Seconds(), staged.Seconds()/took.Seconds())
	if staged > 2*took {
		t.Error("staging takes more than twice as long")
	}
	r.must(r.unstage())
}
